"""A page about what `limio sync` keeps. A package of its own, so that nothing else needs the extra `[report]`.

figures.py   rows of a target to figures: pure, in one pass over each table, in bounded memory
charts.py    figures to charts; the only importer of vl_convert
flow.py      journeys to a drawing
page.py      all of it to one HTML file, with page.html; the only importer of jinja2
"""
