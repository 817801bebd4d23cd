"""Real servers that receive webhooks, and a client of raw sockets that counts what they take of it."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from tests.postgres_cluster import end_with_parent

ROOT = Path(__file__).parents[2]
APP = """
import os
from limio_async.webhooks import Inbox
pairs = [tuple(os.environ[name].split(":", 1)) for name in ("LIMIO_WEBHOOK_CREDENTIALS", "LIMIO_WEBHOOK_CREDENTIALS_OLD")]
app = Inbox(os.environ["LIMIO_INBOX"]).receiver(pairs)
"""


_LISTENS = re.compile(rb'"listens": ?"http://127.0.0.1:(\d+)/|running on socket .*, (\d+)\)')
_LONGEST, _SAID_WITHIN = 30.0, 5.0


class Server:
    """`limio inbox serve`, or the ASGI app in uvicorn; whatever it says is kept. It ends with the thread that starts it.

    Its port is the one that it says itself: nobody else can have that.
    """

    def __init__(self, kind: str, directory: Path, pairs: tuple[str, str], file: Path) -> None:
        (directory / "door_app.py").write_text(APP)
        self._kind, self._directory = kind, directory
        self._environment = {
            **os.environ, "LIMIO_INBOX": f"sqlite:///{file}", "PYTHONPATH": f"{ROOT}:{directory}",
            "LIMIO_WEBHOOK_CREDENTIALS": pairs[0], "LIMIO_WEBHOOK_CREDENTIALS_OLD": pairs[1], "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.said, self.port = bytearray(), 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it serves."""
        with socket.create_server(
            ("127.0.0.1", 0), backlog=128
        ) as one:  # nobody listens there once it is gone
            serve = ["limio_async.cli", "inbox", "serve", "--port", "0", "--json"]
            uvicorn = ["uvicorn", "door_app:app", "--fd", str(one.fileno()), "--no-use-colors"]
            self._process = subprocess.Popen(
                [sys.executable, "-m", *(serve if self._kind == "serve" else uvicorn)],
                cwd=self._directory, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, pass_fds=[one.fileno()] if self._kind == "uvicorn" else [],
                preexec_fn=partial(end_with_parent, signal.SIGKILL),  # a job in the background ignores SIGQUIT
            )  # fmt: skip
        known = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(self._process, known), daemon=True)
        self._listener.start()
        came = known.wait(_LONGEST)
        if not came or not self.port:
            self.kill()
            raise AssertionError(f"it does not serve:\n{self.said.decode(errors='replace')}")

    def _listen(self, process: subprocess.Popen[bytes], known: threading.Event) -> None:
        assert process.stdout is not None
        self.port = 0
        with process.stdout as stream:
            for line in stream:
                self.said += line
                if not self.port and (found := _LISTENS.search(line)):
                    self.port = int(found[1] or found[2])
                    known.set()
        known.set()

    def kill(self) -> None:
        """End it at once; what it has said is known then. Nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._listener.join(_LONGEST)
        self._process = None

    def lines_with(self, words: bytes) -> int:
        """Count the lines with *words*, once there is one; 0 where none comes."""
        until = time.monotonic() + _SAID_WITHIN
        while words not in self.said and time.monotonic() < until:
            time.sleep(0.01)
        return sum(words in line for line in bytes(self.said).splitlines())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def most_memory(self) -> int:
        """MiB that it has needed at most."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10

    @property
    def command_line(self) -> bytes:
        return Path(f"/proc/{self.pid}/cmdline").read_bytes()

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """No file of it can grow, as on a disk that is full."""
        pid, (before, hard) = self.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (before, hard))

    def ask(self, *lines: bytes, path: bytes = b"/hooks/order_submitted", method: bytes = b"POST", body: bytes | Iterable[bytes] = b"", wait: float = 20.0) -> Answer:  # fmt: skip
        """Send a request, chunked unless its *body* is bytes, as long as the server takes any of it."""
        length = (
            b"content-length: %d" % len(body) if isinstance(body, bytes) else b"transfer-encoding: chunked"
        )
        head = b"\r\n".join((b"%b %b HTTP/1.1" % (method, path), b"host: x", length, *lines, b"", b""))
        parts = iter([body] if isinstance(body, bytes) else (b"%x\r\n%b\r\n" % (len(one), one) for one in chain(body, [b""])))  # fmt: skip
        return self._sent(head, parts, wait)

    def _sent(self, head: bytes, parts: Iterator[bytes], wait: float) -> Answer:
        took, came, left, began = -len(head), bytearray(), memoryview(head), time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), wait) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)  # what waits there nobody took
            wire.setblocking(False)
            while time.monotonic() < began + wait:
                if not left:
                    left = memoryview(next(parts, b""))
                if not left and _is_whole(bytes(came)):
                    break
                readable, writable, _ = select.select([wire], [wire] if left else [], [], 1.0)
                try:
                    if readable:
                        if not (more := wire.recv(2**16)):
                            break
                        came += more
                    if writable:
                        count = wire.send(left)
                        took, left = took + count, left[count:]
                except OSError:  # the server has had enough
                    break
        return Answer(bytes(came), max(0, took), time.monotonic() - began)


class Answer:
    def __init__(self, text: bytes, took: int, seconds: float) -> None:
        head, _, body = text.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        self.status = int(first.split()[1]) if first else 0
        self.headers = {name.lower().decode(): value.strip().decode() for name, _, value in (line.partition(b":") for line in lines)}  # fmt: skip
        self.words, self.took, self.seconds = body.decode(), took, seconds


def _is_whole(text: bytes) -> bool:
    head, end, body = text.partition(b"\r\n\r\n")
    if not end:
        return False
    answer = Answer(head + b"\r\n\r\n", 0, 0.0)
    return answer.status == 204 or len(body) >= int(answer.headers.get("content-length", "0"))
