"""`limio emulate`: a tenant on this machine."""

from __future__ import annotations

import re
import signal
import socket
import subprocess

from tests.cli.conftest import Run, command_line


def test_what_it_says_is_all_that_a_client_needs(limio: Run) -> None:
    command = command_line("emulate", "--port", "0", "--offers", "8", "--subscriptions", "3")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(5)]
        try:
            assert said[0].startswith("limio: emulating at http://127.0.0.1:")
            env = dict(re.findall(r"^export (LIMIO_\w+)=(.*)$", "".join(said), re.MULTILINE))
            result = limio("offers", "list", env=env)
            assert result.exit_code == 0, result.stderr
            assert result.stdout.count("\n") == 8
            assert limio("orders", "list", "--limit", "1", env=env).exit_code == 0
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.stderr.read().strip() == "limio: interrupted"


def test_a_port_that_is_taken_is_named(limio: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = limio("emulate", "--port", str(port), "--offers", "1", "--subscriptions", "1")
    assert result.exit_code == 1
    assert result.stderr == f"limio: cannot serve at 127.0.0.1:{port}: address already in use\n"


def test_other_machines_are_not_served(limio: Run) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.1", "acme.prod.limio.com"):  # noqa: S104
        result = limio("emulate", "--host", host)
        assert result.exit_code == 2
        assert "this machine only" in result.stderr
