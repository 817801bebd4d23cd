"""A whole tenant, kept in a database or in files, run after run: `Job`.

Where to look:

job.py          Job: opens target and state, starts the streams, reports
run/            one run of one stream: list, deliver, settle
source.py       reads a stream: its list, children, whole objects; for run/ and dlt.py
refusals.py     whose verdict an error is: of an object or of all
patience.py     riding out an outage
context.py      what the streams of a job share: choices, client, target, state
asking.py       what a run asks a list for: whether the tenant may be asked to filter
times.py        the time a run asks from, and where the next one starts: pure
streams.py      what can be synced
columns.py      what of an item gets a column
rows.py         turns items into rows: pure
walk.py         how far a list was walked; its pages on their way to the target
spool.py        what was listed and is not in the target yet: the job's own state
packing.py      items of a page as one value, byte for byte: pure
spool_file.py   the file that it is in: version, target, tenant
lock.py         one run at a time
hydrate.py      fetches many objects whole, with a fixed pool of workers
dlt.py          the lists as a source of dlt
dlt_rows.py     rows as dlt takes them: dicts or files of Parquet
portal.py       walks for a caller without an event loop
sink.py         tables, rows, the Sink protocol
ledger.py       the tables beside the streams': runs, watermarks, quarantine, drift
events.py       reports and events
status.py       how the streams of a target stand: age, failures, quarantine
sinks/          one target a file
"""

from limio_async.sync_jobs.events import JobReport, StreamReport, SyncEvent
from limio_async.sync_jobs.hydrate import Hydrated, hydrated
from limio_async.sync_jobs.job import Job
from limio_async.sync_jobs.sink import (
    Change,
    Column,
    Compares,
    Condition,
    Prepared,
    Refused,
    Row,
    Sink,
    Table,
    Unseen,
    Written,
)
from limio_async.sync_jobs.streams import Stream, known_streams

__all__ = [
    "Change",
    "Column",
    "Compares",
    "Condition",
    "Hydrated",
    "Job",
    "JobReport",
    "Prepared",
    "Refused",
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
