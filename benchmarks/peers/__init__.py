"""Clients that are measured side by side: ours, and others that do the same work.

Each module is a process of its own, in an environment of its own where it needs one (`environments.py`), and answers
to `worker.py`: walk(url, page_size), calls(url, count, at_once) and whatever else it can. `by_hand_sync`, `dlt_generic` and
`dlt_ours` are programs that do one sync and end; `used.py` tells what one took.
"""
