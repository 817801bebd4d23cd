"""A whole tenant, kept in a database or in files, run after run.

Where to look:

    job.py      Job: streams into a sink, how a run goes
    streams.py  what can be synced, and which columns its table has
    rows.py     items to rows: pure
    spool.py    what was listed and is not in the target yet: the job's own state
    hydrate.py  fetching many objects whole, with a fixed pool of workers
    drift.py    what items hold that the models do not know
    tables.py   tables, rows, the Sink protocol;  ledger.py: the tables beside the streams'
    events.py   reports and events
    sinks/      one target a file
"""
