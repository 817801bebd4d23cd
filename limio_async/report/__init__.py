"""A page about what `limio sync` keeps. A package of its own, so that nothing else needs the extra `[report]`.

figures.py   turns rows of a target into figures: pure, in one pass over each table, in bounded memory
charts.py    turns figures into charts; the only importer of vl_convert
flow.py      draws journeys
page.py      puts it all into one HTML file, with page.html; the only importer of jinja2
"""
