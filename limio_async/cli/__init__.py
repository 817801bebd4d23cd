"""`limio`: every operation on the command line. Data goes to stdout, talk to stderr.

__main__.py    main()
app.py         the root command: global options, which commands there are, how a run ends
operation.py   the command of one endpoint: its arguments, options and help
run.py         calls or walks an endpoint and hands on what comes back
output.py      NDJSON, a JSON array, a table           target.py    a file that appears when it is whole
settings.py    flags, environment, profiles            progress.py  how far a listing is
failures.py    one line and one exit code for whatever went wrong
login.py       signing in with a browser           logout.py    and out
emulate.py     a tenant on this machine: kept.py its state, recording.py what a real one answers, masking.py without names
operations.py, completion.py   the other commands
"""
