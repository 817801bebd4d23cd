"""One run of one stream.

stream_run.py   resumes or begins, plays the three parts, comes to an honest end
progress.py     what the parts share: the report, how far the walk is, what waits
fill.py         list → spool
drain.py        spool → target, objects fetched whole on the way
settle.py       the verdict, deletions, the watermark
"""
