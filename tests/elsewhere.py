"""The package as on Windows: `python -m tests.elsewhere DIRECTORY` imports and runs it without what only POSIX has."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import pkgutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

MODULES = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "resource", "syslog", "termios", "tty", "uvloop")
POSIX: dict[str, frozenset[str]] = {
    "os": frozenset({
        "F_LOCK", "F_TLOCK", "F_ULOCK", "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK",
        "O_SYNC", "O_TMPFILE", "SCHED_OTHER", "WEXITSTATUS", "WIFEXITED", "WIFSIGNALED", "WNOHANG", "WTERMSIG", "chown",
        "chroot", "confstr", "ctermid", "fchdir", "fchown", "fdatasync", "fork", "forkpty", "fpathconf", "fstatvfs",
        "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresuid",
        "getsid", "getuid", "initgroups", "killpg", "lchown", "lockf", "major", "makedev", "memfd_create", "minor",
        "mkfifo", "mknod", "nice", "openpty", "pathconf", "posix_fadvise", "posix_fallocate", "posix_spawn", "pread",
        "preadv", "pwrite", "pwritev", "readv", "register_at_fork", "sched_getaffinity", "sched_setaffinity",
        "sched_yield", "sendfile", "setegid", "seteuid", "setgid", "setgroups", "setpgid", "setpriority", "setsid",
        "setuid", "splice", "statvfs", "sync", "sysconf", "tcgetpgrp", "tcsetpgrp", "ttyname", "uname", "wait", "wait3",
        "wait4", "waitid", "writev",
    }),
    "signal": frozenset({
        "ITIMER_REAL", "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP",
        "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer",
        "siginterrupt", "sigpending", "sigtimedwait", "sigwait",
    }),
    "socket": frozenset({"AF_UNIX", "SO_REUSEPORT", "recv_fds", "send_fds", "sethostname"}),
    "time": frozenset({"clock_gettime", "clock_settime", "pthread_getcpuclockid", "tzset"}),
}  # fmt: skip
"""What Python has on POSIX only: https://docs.python.org/3/library/os.html and its neighbours, "Availability"."""


def unavailable(*_: object, **__: object) -> NoReturn:
    raise NotImplementedError


def take_away() -> None:
    """Leave what Windows has; what the package needs of others was imported before."""
    for module in (os, signal, time):  # a loop of POSIX needs what a socket has there
        for name in POSIX[module.__name__]:
            with suppress(AttributeError):
                delattr(module, name)
    hidden: dict[str, Any] = dict.fromkeys(MODULES)
    sys.modules.update(hidden)
    loop: Any = asyncio.SelectorEventLoop
    loop.add_signal_handler = loop.remove_signal_handler = unavailable
    opened = os.open

    def no_directory(path: Any, *more: Any, **settings: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *more, **settings)

    os.open = no_directory


def everything() -> list[str]:
    """Import every module of the package, and return their names."""
    package: ModuleType = importlib.import_module("limio_async")
    names = [one.name for one in pkgutil.walk_packages(package.__path__, "limio_async.")]
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:  # of an extra, where there is none
            if importlib.util.find_spec("dlt") is not None:
                raise
    return names


async def worked(directory: Path) -> None:
    """Call, sync, send and receive."""
    from limio_async import ClientCredentials, Limio
    from limio_async.emulator import InMemoryTransport, World
    from limio_async.outbox import Outbox
    from limio_async.sync_jobs import Job
    from limio_async.webhooks import Inbox

    world = World(offers=200)
    settings = world.environ("https://acme.prod.limio.com")

    def limio() -> Limio:
        return Limio(
            transport=InMemoryTransport(world),
            auth=ClientCredentials(settings["LIMIO_CLIENT_ID"], settings["LIMIO_CLIENT_SECRET"]),
        )

    async with limio() as client:
        assert await client.offers.list().take(2)
    async with (
        Outbox(f"sqlite:///{directory / 'box.db'}") as outbox,
        Inbox(f"sqlite:///{directory / 'in.db'}") as inbox,
        limio() as client,
    ):
        await inbox.run(client, until_idle=True)
        await outbox.run(client, until_idle=True)
    async with limio() as client:
        for url in (f"sqlite:///{directory / 'limio.db'}", f"ndjson:{directory / 'lake'}"):
            report = await Job(client, to=url, streams=["offers"]).run()
            assert report.streams[0].status == "complete"


def commanded(directory: Path) -> None:
    """Run commands of `limio`."""
    from limio_async.cli.__main__ import main

    for command in (
        ["--emulated", "offers", "list", "--limit", "1"],
        ["sync", "--emulated", "--to", f"sqlite:///{directory / 'by.db'}", "segments"],
        ["outbox", "stats", "--outbox", f"sqlite:///{directory / 'box.db'}"],
    ):
        sys.argv = ["limio", *command]
        code: object = None
        try:
            main()
        except SystemExit as end:
            code = end.code
        assert not code, command


if __name__ == "__main__":
    everything()  # so that all they need of others is there
    for name in [one for one in sys.modules if one.partition(".")[0] == "limio_async"]:
        del sys.modules[name]
    take_away()
    print(len(everything()), flush=True)  # noqa: T201
    place = Path(sys.argv[1])
    asyncio.run(worked(place))
    if importlib.util.find_spec("click") is not None:
        commanded(place)
    print("done", flush=True)  # noqa: T201
