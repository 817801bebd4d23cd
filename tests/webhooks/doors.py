"""Real servers that receive webhooks, and a client of raw sockets that counts what they take of it."""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = """
import os
from limio_async.webhooks import Inbox
pairs = [tuple(os.environ[name].split(":", 1)) for name in ("LIMIO_WEBHOOK_CREDENTIALS", "LIMIO_WEBHOOK_CREDENTIALS_OLD")]
app = Inbox(os.environ["LIMIO_INBOX"]).receiver(pairs)
"""


class Server:
    """`limio inbox serve`, or the ASGI app in uvicorn; whatever it says is kept."""

    def __init__(self, kind: str, directory: Path, pairs: tuple[str, str], file: Path) -> None:
        (directory / "door_app.py").write_text(APP)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        serve = ["limio_async.cli", "inbox", "serve", "--port", str(self.port)]
        uvicorn = ["uvicorn", "door_app:app", "--port", str(self.port)]
        self._command = [sys.executable, "-m", *(serve if kind == "serve" else uvicorn)]
        self._directory = directory
        self._environment = {
            **os.environ, "LIMIO_INBOX": f"sqlite:///{file}", "PYTHONPATH": f"{ROOT}:{directory}",
            "LIMIO_WEBHOOK_CREDENTIALS": pairs[0], "LIMIO_WEBHOOK_CREDENTIALS_OLD": pairs[1],
        }  # fmt: skip
        self.said = bytearray()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, cwd=self._directory, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        until = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, self.said.decode()
            assert time.monotonic() < until
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.02)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                self.said += line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def most_memory(self) -> int:
        """MiB that it has needed at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10

    @property
    def command_line(self) -> bytes:
        return Path(f"/proc/{self.process.pid}/cmdline").read_bytes()

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """No file of it can grow, as on a disk that is full."""
        pid, (before, hard) = self.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
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
        parts = iter([body] if isinstance(body, bytes) else (b"%x\r\n%b\r\n" % (len(one), one) for one in (*[], *body, b"")))  # fmt: skip
        return self._sent(head, parts, wait)

    def _sent(self, head: bytes, parts: Iterator[bytes], wait: float) -> Answer:
        took, came, left, began = -len(head), bytearray(), memoryview(head), time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), wait) as wire:
            wire.setblocking(False)
            while time.monotonic() < began + wait:
                if not left:
                    left = memoryview(next(parts, b""))
                readable, writable, _ = select.select([wire], [wire] if left else [], [], 1.0)
                try:
                    if readable:
                        if not (more := wire.recv(2**16)):
                            break
                        came += more
                        if not left and _is_whole(bytes(came)):
                            break
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
