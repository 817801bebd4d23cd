"""The engine: HTTP shapes, no Limio nouns, no aiohttp.

session.py   one call, rung by rung
listing/     a list operation: one page after another, every item once
explain.py   what a call would send, without sending it
sending.py   the state of one request on its way, and of the client that sends it
retry.py     whether to send again, and how long to wait; the only importer of backoff
readback.py  whether a write happened whose answer was lost: pure
limiter.py   how many requests are on the wire at once, and when the next may leave
deadline.py  deadlines that share one timer
body.py      gathers the body of an answer up to a limit, decompressed
codec.py     turns values into requests, and answers into values or the right error: pure
wire.py      the values that travel: requests, responses, and the facts of each endpoint
ports.py     what the session asks of the outside: Transport, Auth
"""
