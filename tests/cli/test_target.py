"""`--to FILE`: the file appears when it is whole, and what is there before can be continued."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from limio_async.core.wire import Response
from limio_async.emulator import World
from tests.cli.conftest import Run, command_line
from tests.disk import Disk, kept

LIST = ["--emulated", "subscriptions", "list", "--page-size", "10"]
PARTIAL, NOTE = Path("out.partial"), Path("out.partial.checkpoint")
BAD_DAY = Response(status=400, headers={}, body=b'{"message":"bad day"}')


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_the_file_holds_what_stdout_would(limio: Run, world: World) -> None:
    for output in ("ndjson", "json"):
        expected = limio(*LIST, "-o", output).stdout_bytes
        assert limio(*LIST, "-o", output, "--to", output).stdout_bytes == b""
        assert Path(output).read_bytes() == expected
    assert files() == ["json", "ndjson"]


def test_a_note_and_the_file_take_their_places_once_they_are_on_the_disk(
    limio: Run, world: World, disk: Disk
) -> None:
    world.script("listObjects", None, BAD_DAY)
    limio(*LIST, "--to", "out")
    first = ("file", PARTIAL.stat().st_size)
    assert disk.story[-4:] == [first, *kept(NOTE)]
    disk.story.clear()
    assert limio(*LIST, "--to", "out", "--resume", "--limit", "11").exit_code == 0
    assert disk.story[-4:] == [*kept(Path("out")), ("removed", NOTE.name)]


@pytest.mark.parametrize("output", ["ndjson", "json"])
def test_a_failed_listing_goes_on_in_the_middle_and_ends_as_if_nothing_had_happened(
    limio: Run, world: World, output: str
) -> None:
    expected = limio(*LIST, "-o", output).stdout_bytes
    asked = world.count("listObjects")
    command = [*LIST, "-o", output, "--to", "out"]
    world.script("listObjects", None, None, None, BAD_DAY)
    failed = limio(*command)
    assert failed.exit_code == 4
    assert failed.stderr == (
        f"limio: listObjects: 400 bad day; kept {PARTIAL};"
        " the same command with --resume goes on from there\n"
    )
    assert files() == [PARTIAL.name, NOTE.name]
    with PARTIAL.open("ab") as stream:
        stream.write(b"half of a page that was not fin")
    before = world.count("listObjects")
    assert limio(*command, "--resume").exit_code == 0
    assert Path("out").read_bytes() == expected
    assert files() == ["out"]
    assert world.count("listObjects") - before == asked - 3


def test_a_scroll_goes_on_by_passing_over_what_is_written(limio: Run, world: World) -> None:
    command = ["--emulated", "offers", "list", "--page-size", "50"]
    expected = limio(*command).stdout_bytes
    world.script("listOffers", None, None, "lost")
    assert limio(*command, "--to", "out").exit_code == 4
    assert limio(*command, "--to", "out", "--resume").exit_code == 0
    assert Path("out").read_bytes() == expected


def test_a_walk_that_ends_too_early_is_never_taken_for_whole(limio: Run, world: World) -> None:
    command = ["--emulated", "offers", "list", "--page-size", "50", "--to", "out"]
    world.script("listOffers", None, Response(status=200, headers={}, body=b'{"items":[],"hits":120}'))
    short = limio(*command)
    assert short.exit_code == 4
    assert "50 items, 120 were promised" in short.stderr
    assert files() == [PARTIAL.name, NOTE.name]
    assert limio(*command, "--resume").exit_code == 0
    assert Path("out").read_bytes().count(b"\n") == 120


def test_a_limit_counts_what_an_earlier_run_wrote(limio: Run, world: World) -> None:
    world.script("listObjects", None, BAD_DAY)
    limio(*LIST, "--to", "out")
    assert limio(*LIST, "--to", "out", "--resume", "--limit", "25").exit_code == 0
    assert Path("out").read_bytes().count(b"\n") == 25


def test_nothing_is_left_of_a_listing_that_never_began(limio: Run, world: World) -> None:
    world.script("listObjects", BAD_DAY)
    assert limio(*LIST, "--to", "out").exit_code == 1
    assert files() == []


def test_a_single_answer_appears_whole_or_not_at_all(limio: Run, world: World) -> None:
    get = ["--emulated", "orders", "get", "nope", "--to", "out"]
    assert limio(*get).exit_code == 1
    assert files() == []
    world.script("getObject", Response(status=200, headers={}, body=b'{"id":"nope"}'))
    assert limio(*get).exit_code == 0
    assert Path("out").read_bytes() == b'{"id":"nope"}\n'


def test_what_is_there_is_replaced_only_on_request(limio: Run, world: World) -> None:
    Path("out").write_text("precious")
    refused = limio(*LIST, "--to", "out")
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert Path("out").read_text() == "precious"
    Path("link").symlink_to("out")
    assert limio(*LIST, "--to", "link", "--force").exit_code == 0
    assert Path("link").is_symlink()
    assert Path("out").read_bytes().count(b"\n") == 60


def test_the_rest_of_an_earlier_run_is_not_overwritten_by_accident(limio: Run, world: World) -> None:
    PARTIAL.write_text("much work")
    refused = limio(*LIST, "--to", "out")
    assert refused.exit_code == 2
    assert "--resume goes on from there, --force starts over" in refused.stderr
    assert PARTIAL.read_text() == "much work"
    assert limio(*LIST, "--to", "out", "--resume").exit_code == 2  # nothing tells where to go on
    assert PARTIAL.read_text() == "much work"
    assert limio(*LIST, "--to", "out", "--force").exit_code == 0
    assert files() == ["out"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no/such/out", "the directory no/such does not exist"),
        (".", "not a regular file"),
        ("/dev/null", "not a regular file"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_anything_is_sent(
    limio: Run, world: World, target: str, said: str
) -> None:
    result = limio(*LIST, "--to", target, "--force")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not world.count()


def test_a_target_that_the_system_refuses_is_named_with_the_reason(limio: Run, world: World) -> None:
    result = limio(*LIST, "--to", "x" * 300)
    assert result.exit_code == 2
    assert "File name too long" in result.stderr
    assert not world.count()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output": "json"}, "is json, not ndjson"),
        ({"bytes": 10**9}, "is shorter than it was"),
        ({"bytes": "x"}, "Expected `int`"),
        (
            {"version": 2},
            f"cannot resume: {NOTE} was made by a newer release of limio_async (version 2, this one knows 1)",
        ),
        (
            {"checkpoint": {"operation": "listObjects", "digest": "0", "items": 1, "version": 3}},
            "the checkpoint has version 3; this release reads 1 and 2",
        ),
        (
            {"checkpoint": {"operation": "listOffers", "digest": "0", "items": 1}},
            "the checkpoint belongs to listOffers",
        ),
        (
            {"checkpoint": {"operation": "listObjects", "digest": "0", "items": 1}},
            "other arguments or another host",
        ),
    ],
)
def test_a_foreign_checkpoint_is_refused_and_nothing_is_lost(
    limio: Run, world: World, change: dict[str, object], said: str
) -> None:
    world.script("listObjects", None, BAD_DAY)
    limio(*LIST, "--to", "out")
    kept = PARTIAL.read_bytes()
    NOTE.write_text(json.dumps(json.loads(NOTE.read_text()) | change))
    result = limio(*LIST, "--to", "out", "--resume")
    assert result.exit_code == 2
    assert said in result.stderr
    assert PARTIAL.read_bytes() == kept


def test_a_malformed_cursor_is_the_servers_no_and_keeps_what_is_written(limio: Run, world: World) -> None:
    world.script("listObjects", None, None, None, BAD_DAY)
    limio(*LIST, "--to", "out")
    saved = json.loads(NOTE.read_text())
    saved["checkpoint"]["cursor"]["query"]["queryMore"] = "%%%"
    NOTE.write_text(json.dumps(saved))
    result = limio(*LIST, "--to", "out", "--resume")
    assert result.exit_code == 1
    assert result.stderr.startswith("limio: listObjects: 400 ")
    assert PARTIAL.exists()


def test_resume_and_force_belong_to_a_file(limio: Run) -> None:
    assert limio(*LIST, "--resume").exit_code == 2
    assert limio(*LIST, "-o", "table", "--to", "out").exit_code == 2


@pytest.mark.parametrize("loop", [[], ["--uvloop"]])
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_listing_can_go_on(by: signal.Signals, loop: list[str], limio: Run) -> None:
    command = [*loop, "--emulated", "subscriptions", "list", "--page-size", "1", "--to", "out"]
    with subprocess.Popen(command_line(*command), stderr=subprocess.PIPE, text=True) as process:
        while not PARTIAL.exists() or PARTIAL.stat().st_size < 1000:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(by)
        assert process.wait(10) == 130
        assert process.stderr is not None
        said = process.stderr.read().strip()
    assert said.startswith("limio: listObjects: interrupted; kept ")
    assert "\n" not in said
    assert limio(*command, "--resume", "--limit", "300").exit_code == 0
    lines = Path("out").read_bytes().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) >= 300
