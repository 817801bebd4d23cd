"""One run of one stream.

stream_run.py   resumes or begins, plays the three parts, comes to an honest end
progress.py     what the parts share: the report, how far the walk is, what waits
resume.py       where a run begins: at the top, or where an earlier one left off
fill.py         list → target, or spool where the target does not keep up
drain.py        pages and spool → target
whole.py        summaries → whole objects, fetched while others are written
quarantine.py   what of a stream is in quarantine, and since when
settle.py       the verdict, deletions, the watermark
over.py         runs that ended without a word
"""
