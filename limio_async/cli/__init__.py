"""`limio`: every operation on the command line. Data goes to stdout, messages to stderr.

__main__.py     main()
early.py        signals before a command has begun and after it has ended
app.py          the root command: global options, the commands there are, how a run ends
group.py        a group of commands that knows its names in any spelling
times.py        durations and moments, as they are typed
loop.py         the event loop that a command runs in
settings.py     flags, environment, profiles
failures.py     one line and one exit code for each failure

operation.py    the command of one endpoint: its arguments, options and help
run.py          calls or walks an endpoint and passes on what comes back
output.py       NDJSON, a JSON array, a table
target.py       a file that appears when it is whole
progress.py     how far a listing is

operations.py   `limio operations`: what there is
login.py        `limio login`: sign in with a browser
logout.py       `limio logout`: delete the stored token
completion.py   `limio completion`: a script for the shell

emulate.py      `limio emulate`: a tenant on this machine
emulate_webhooks.py  its options about webhooks
kept.py         its state, in a SQLite file
recording.py    a proxy that records what a real tenant answers
masking.py      removes personal data and tokens from recordings

sync.py         `limio sync`: a whole tenant, or some of its lists, into a database or files
sync_view.py    what `limio sync` shows
sync_status.py  `limio sync --status`: how old each stream is
outbox.py       `limio outbox`: orders that are sent exactly as often as meant
outbox_run.py   `limio outbox run`: sends, or says what it would do first
outbox_open.py  finds the outbox that a command is about
outbox_view.py  what `limio outbox` shows, and what it hides
inbox.py        `limio inbox`: webhooks that are stored before they are answered
inbox_view.py   what `limio inbox` shows, and what it hides
drift.py        `limio drift`: what items hold that the models do not know
report.py       `limio report`: a page about what `limio sync` keeps
reading.py      opens what `limio sync` has written
"""
