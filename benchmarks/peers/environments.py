"""The environments of the contenders that need one: `python -m benchmarks.peers.environments [NAME…]` makes what is missing.

They lie under .cache/peers, and are made anew when what they are made from has changed. `before` is this repository as it
once was, out of its own history: a clone that does not reach so far back goes without.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
SPEC = ROOT / "openapi/limio.yaml"
SNIFFIO = "sniffio>=1.3"  # without it httpcore searches the disk for it, in vain, with each request
REQUIREMENTS = {
    "httpx_pydantic": ("httpx>=0.28.1", "pydantic>=2.12", SNIFFIO),
    "openai_core": ("openai>=3.57",),
    "openapi_client": ("openapi-python-client>=0.29.1", SNIFFIO),
}
BEFORE = "12e0a19da7483674d64f2a7acf9dc11f8a6895eb"  # what our own speed is held to
GENERATED = "limio_generated"
LONGEST = 600  # seconds an install may take


class NoEnvironment(RuntimeError):
    """An environment is missing or could not be made; the message says why."""


class NotInHistory(NoEnvironment):
    """The commit that a contender is made from is not in this clone."""


def python_of(name: str) -> Path:
    """The interpreter to run contender *name* with: this one, if it needs no packages of its own."""
    if name not in REQUIREMENTS:
        return Path(sys.executable)
    if not is_current(name):
        raise NoEnvironment(
            f"{name}: make its environment first: python -m benchmarks.peers.environments {name}"
        )
    return interpreter(name)


def root_of_before() -> Path:
    """Where our code of `BEFORE` lies. It runs on the packages of today: only our own code differs.

    Raises `NotInHistory` where this clone does not hold it.
    """
    name = "before"
    if not is_current(name):
        shutil.rmtree(folder(name), ignore_errors=True)
        folder(name).mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch, "before.tar")
            try:
                do(
                    name,
                    "git",
                    "-C",
                    str(ROOT),
                    "archive",
                    f"--output={archive}",
                    BEFORE,
                    "limio_async",
                    "benchmarks",
                )
            except (NoEnvironment, OSError):
                raise NotInHistory(f"commit {BEFORE[:7]} is not in the history of this clone") from None
            with tarfile.open(archive) as code:
                code.extractall(folder(name), filter="data")
        stamp(name).write_text(digest(name), encoding="utf-8")
    return folder(name)


def make(name: str) -> None:
    """Make the environment of *name*, unless it is there and made from the same things."""
    if name == "before":
        root_of_before()
    if is_current(name):
        return
    shutil.rmtree(folder(name), ignore_errors=True)
    python = str(interpreter(name))
    do(name, sys.executable, "-m", "venv", str(folder(name)))
    do(name, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS[name])
    if name == "openapi_client":
        generate(name, python)
    stamp(name).write_text(digest(name), encoding="utf-8")


def generate(name: str, python: str) -> None:
    """Put the generated client where the environment's other packages are."""
    site = do(name, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    with tempfile.TemporaryDirectory() as scratch:
        spec = Path(scratch, "spec.json")
        spec.write_text(
            json.dumps(acceptable(yaml.safe_load(SPEC.read_text(encoding="utf-8")))), encoding="utf-8"
        )
        command = [python, "-m", "openapi_python_client", "generate", "--path", str(spec), "--meta", "none"]
        do(name, *command, "--output-path", str(Path(site, GENERATED)))
    do(name, python, "-c", f"import {GENERATED}.api.catalog.list_offers, {GENERATED}.api.objects.get_object")


def acceptable(spec: Any) -> Any:
    """*spec* without the defaults of required parameters: openapi-python-client lets arguments without one follow them,
    which is no Python.
    """
    if isinstance(spec, list):
        return [acceptable(one) for one in spec]
    if not isinstance(spec, dict):
        return spec
    kept = {key: acceptable(value) for key, value in spec.items()}
    if "in" in kept and kept.get("required") is True:
        kept["schema"] = {key: value for key, value in kept["schema"].items() if key != "default"}
    return kept


def do(name: str, *command: str) -> str:
    """What *command* prints; raises NoEnvironment with its last lines when it fails."""
    search = os.pathsep.join([str(interpreter(name).parent), os.environ.get("PATH", os.defpath)])
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=True,
            env={**os.environ, "PATH": search},
        )
    except subprocess.CalledProcessError as error:
        last = "\n".join((error.stdout + error.stderr).splitlines()[-10:])
        raise NoEnvironment(f"{name}: {' '.join(command)}: exit {error.returncode}\n{last}") from None
    except subprocess.TimeoutExpired:
        raise NoEnvironment(f"{name}: {' '.join(command)}: not done after {LONGEST} s") from None
    return done.stdout


def folder(name: str) -> Path:
    return ROOT / ".cache/peers" / name


def interpreter(name: str) -> Path:
    return folder(name) / "bin/python"


def stamp(name: str) -> Path:
    return folder(name) / "made-from"


def is_current(name: str) -> bool:
    return stamp(name).is_file() and stamp(name).read_text(encoding="utf-8") == digest(name)


def digest(name: str) -> str:
    """Of everything that the environment is made from."""
    if name == "before":
        return BEFORE
    made_from = hashlib.sha256(repr((sys.version, REQUIREMENTS[name])).encode())
    if name == "openapi_client":
        made_from.update(SPEC.read_bytes())
    return made_from.hexdigest()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ("before", *REQUIREMENTS):
        try:
            make(wanted)
        except NotInHistory as missing:
            print(f"{wanted}: {missing}; the others are measured without it")
