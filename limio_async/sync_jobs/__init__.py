"""A whole tenant, kept in a database or in files, run after run: `Job`.

Where to look:

    job.py         Job: opens target and state, lets the streams run, reports
    stream_run.py  one run of one stream: list, deliver, come to an honest end
    workshop.py    what its streams share: choices, client, target, state
    watermarks.py  from when on a run asks, and where the next begins: pure
    streams.py     what can be synced, and which columns its table has
    rows.py        items to rows: pure
    spool.py       what was listed and is not in the target yet: the job's own state
    lock.py        one run at a time
    hydrate.py     fetching many objects whole, with a fixed pool of workers
    drift.py       what items hold that the models do not know
    dlt.py         the lists as a source of dlt
    tables.py      tables, rows, the Sink protocol;  ledger.py: the tables beside the streams'
    events.py      reports and events
    sinks/         one target a file
"""

from limio_async.sync_jobs.events import JobReport, StreamReport, SyncEvent
from limio_async.sync_jobs.hydrate import Hydrated, hydrated
from limio_async.sync_jobs.job import Job
from limio_async.sync_jobs.streams import Stream, known_streams
from limio_async.sync_jobs.tables import Change, Column, Row, Sink, Table, Unseen, Written

__all__ = [
    "Change",
    "Column",
    "Hydrated",
    "Job",
    "JobReport",
    "Row",
    "Sink",
    "Stream",
    "StreamReport",
    "SyncEvent",
    "Table",
    "Unseen",
    "Written",
    "hydrated",
    "known_streams",
]
