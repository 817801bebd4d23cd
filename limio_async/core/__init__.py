"""The engine: HTTP shapes, no Limio nouns, no aiohttp.

session.py    one call and its answer, a walk over a list, views with other options
ladder.py     one request, rung by rung: the deadline, resends, credentials, a slot
outcome.py    the error of an answer, and whether a write may have happened
sending.py    the state of one request on its way       lifetime.py   whether a client can be used
retry.py      what is sent again, and when              limiter.py    how many requests are on the wire
deadline.py   deadlines that share one timer            readback.py   seeing whether a write happened
codec.py      values to requests, answers to values     explain.py    what a call would send
wire.py       the values that travel, and the facts of each endpoint
ports.py      what is asked of a transport and of a strategy for credentials

listing/      walking lists
"""
