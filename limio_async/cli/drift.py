"""`limio drift`: what a target's items hold that the models do not know, as a change of the spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from limio_async.cli.failures import Failure, did_you_mean, printable, tell
from limio_async.cli.output import to_stdout
from limio_async.cli.reading import target

if TYPE_CHECKING:  # --help does without it
    from limio_async.drift.findings import Finding

__all__ = ["command"]

_PLACE = Path("openapi/limio.yaml")


@click.command("drift")
@click.option("--from", "url", required=True, metavar="URL", help="What limio sync writes --to.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this class, such as OfferData; may be repeated.")  # fmt: skip
@click.option(
    "--spec",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The spec to change  [openapi/limio.yaml, where it is there]",
)
def command(url: str, models: tuple[str, ...], spec: Path | None) -> None:
    """Propose what the spec should know: fields, types and values that limio sync has seen.

    Prints a patch, to be applied at the root of a checkout (patch -p1, git apply) and followed by `make generate`;
    without a spec, a fragment of YAML. What only a person can decide is told on stderr.
    """
    from limio_async.sync_jobs.ledger import drifted

    with target(url) as sink:
        findings = [finding for _, finding in drifted(sink)]
    for name in models:
        _check(name, {one.model for one in findings})
    chosen = [one for one in findings if not models or one.model in models]
    if not chosen:
        of = f" of {' and '.join(models)}" if models else ""
        tell(f"no drift{of}: the models know all that was seen in {sink.name}")
        return
    file = spec or (_PLACE if _PLACE.is_file() else None)
    to_stdout(_proposed(chosen, file).encode())


def _proposed(findings: list[Finding], file: Path | None) -> str:
    try:
        from limio_async.drift.proposal import fragment, patch, propose
    except ModuleNotFoundError as error:
        raise Failure(f"limio drift needs {error.name}: pip install 'limio_async[report]'") from None
    if file is None:
        tell(f"{_PLACE} is not here: a fragment instead of a patch; --spec FILE names it")
        return fragment(findings)
    try:
        before = file.read_bytes().decode()
        proposal = propose(findings, before)
    except (OSError, ValueError) as error:
        raise Failure(f"--spec {file}: {error}") from None
    for sentence in proposal.left_out:
        tell(f"not proposed: {sentence}")
    if proposal.text == before:
        tell(f"{file} needs no change")
    return patch(before, proposal.text)


def _check(name: str, drifted: set[str]) -> None:
    from limio_async.api import models

    if name not in drifted and name not in models.__all__:
        raise Failure(
            f"--model {printable(name)}: there is no such class{did_you_mean(name, models.__all__)}"
        )
