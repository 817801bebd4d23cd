"""Lets schemathesis ask an emulator whatever openapi/limio.yaml allows, and more. `make schemathesis`

Its verdict is the exit code. It is asked for what a client may rely on: no failure of the server, no status,
content type, header or body that is not described, no answer without a credential. Whether bad data are refused
is not asked: Limio takes unknown fields, and so does the emulator.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from limio_async.emulator.server import serve
from tests.judges.spec import for_server
from tests.judges.test_schema import small_world
from tests.judges.walker import Walker

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
LONGEST = 100

# 502 is Limio's own answer to some bad bodies; whether it is described is another check.
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "502"]

[auth.openapi.bearerAuth]
bearer = "{token}"

[auth.openapi.sessionAuth]
bearer = "{session}"

[auth.openapi.apiKeyAuth]
api_key = "{key}"
"""


async def judge(schemathesis: str, examples: int) -> int:
    """The exit code of *schemathesis*."""
    world = small_world(token_lifetime=1e9)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with serve(world, port=0) as url:
            directory.joinpath("limio.json").write_text(json.dumps(for_server(url), default=str))
            directory.joinpath("schemathesis.toml").write_text(
                CONFIGURATION.format(
                    token=Walker(world).good_token(), session=world.session_token, key=world.api_key
                )
            )
            running = await asyncio.create_subprocess_exec(
                schemathesis, "run", "limio.json", "--url", url, "--checks", ",".join(CHECKS),
                "--max-examples", str(examples), "--seed", "1", "--continue-on-failure", "--no-shrink",
                "--max-time", str(LONGEST), "--request-timeout", "10", "--warnings", "off", "--no-color",
                "--generation-database", "none", "--suppress-health-check", "all",
                cwd=directory,
            )  # fmt: skip
            code = await running.wait()
            sys.stderr.write(f"{world.count():,} requests came\n")
            return code


if __name__ == "__main__":
    sys.exit(asyncio.run(judge(str(Path(sys.argv[1]).resolve()), int(sys.argv[2]))))
