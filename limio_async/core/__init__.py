"""The engine: HTTP shapes, no Limio nouns, no aiohttp.

session.py   one call and its answer; a walk over a list; views with other options
ladder.py    one request, rung by rung: the deadline, resends, credentials, a slot
outcome.py   what came of a request: the error of an answer, whether a write may have happened; pure
listing/     a list operation: one page after another, every item once
explain.py   what a call would send, without sending it
sending.py   the state of one request on its way
lifetime.py  whether a client can be used, and what ends with it
retry.py     whether to send again, and how long to wait; the only importer of backoff
limiter.py   how many requests are on the wire at once, and when the next may leave
deadline.py  deadlines that share one timer
codec.py     turns values into requests, and answers into values or the right error: pure
bodies.py    bodies of requests, and which field is wrong: pure
identity.py  whether a success says yes: pure
splitter.py  the parts of JSON that msgspec refuses as a whole: pure
torn.py      the items of a page of which one has a quote too many or too few: pure
words.py     what the body of an answer says, in one short line: pure
tolerant.py  half surrogates mended, what cannot be read as null: pure
guard.py     where no call may be made
model.py     what every body and answer can do; pydantic asks it
pydantic_schema.py  how pydantic reads, writes and describes models; the only importer of pydantic
same.py      whether two JSON values are the same, and where they differ: pure
clock.py     the clock of another machine, as its answers tell
wire.py      the values that travel: requests, responses, and the facts of each endpoint
ports.py     what a client asks of the outside: Transport, Auth, Observer, Pace
"""
