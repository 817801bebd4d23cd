"""What changed of the public names since the last release, and what of it is allowed and said."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

_OLD = re.compile(r"deprecated until (\d+)\.(\d+) for ")
_BEFORE = "# Said before: "
Names = Mapping[str, str]
"""What each public name is."""


def read(text: str) -> dict[str, str]:
    """Return the names in *text*, as `public.txt` and `released.txt` hold them."""
    lines = (line.partition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: said for name, _, said in lines}


def release(text: str) -> tuple[int, int]:
    """Return the release that *text* is of: major and minor."""
    found = re.search(r"^# Public names of limio_async (\d+)\.(\d+)", text)
    if found is None:
        raise ValueError("the first line does not say of which release these names are")
    return int(found[1]), int(found[2])


def unsaid(public: Names, released: Names, changelog: str, before: Collection[str] = ()) -> list[str]:
    """Return the names that were added, removed or changed and that [Unreleased] of *changelog* does not name.

    Only entries count that are not marked in *before*: what was said of a name tells nothing of a later change.

    A name stands there in backticks, by its last two parts (`Offer.charges`, `offers.list`) or more; one that a module
    exports by its last one (`CatalogCache`). A class that comes or goes stands for all that it has, and for its
    `__init__`. `models.*_at` stands for what it matches.
    """
    words = spoken(changelog, before)
    return [
        name
        for name in changed(public, released)
        if not any(_is_named(one, words) for one in _covers(name, public, released))
    ]


def changed(public: Names, released: Names) -> list[str]:
    """Return the names that are not what they were. One that a public base has now is what it was.

    An alias that comes or goes is no change: a signature that has it tells so.
    """
    now, then = whole(public), whole(released)
    names = {*public, *released} - (_aliases(public) ^ _aliases(released))
    return sorted(name for name in names if now.get(name) != then.get(name))


def _aliases(names: Names) -> set[str]:
    return {name for name, said in names.items() if said.startswith("alias ")}


def whole(names: Names) -> dict[str, str]:
    """Return *names*, and what their classes inherit from public ones."""
    classes = {
        name: bases[1] for name, said in names.items() if (bases := re.search(r"class\((.*)\)$", said))
    }
    homes = {name.rpartition(".")[2]: name for name in classes}
    members: dict[str, dict[str, str]] = {name: {} for name in classes}
    for name, said in names.items():
        if (owner := name.rpartition(".")[0]) in members:
            members[owner][name.rpartition(".")[2]] = said

    def of(name: str) -> dict[str, str]:
        bases = [homes[base] for base in re.findall(r"\w+", classes[name]) if base in homes]
        inherited = [of(base) for base in reversed(bases) if base != name]
        return {member: said for one in (*inherited, members[name]) for member, said in one.items()}

    return {**names, **{f"{name}.{member}": said for name in classes for member, said in of(name).items()}}


def spoken(changelog: str, before: Collection[str] = ()) -> set[str]:
    """Return what stands in backticks under [Unreleased], each up to the first character that is no part of a name.

    Entries that are marked in *before* are passed over.
    """
    entries = "\n".join(one for one in _entries(changelog) if _mark(one) not in before)
    found = (re.match(r"(?:await )?\.?([\w.*]+)", one) for one in re.findall(r"`([^`\n]+)`", entries))
    return {one[1].lower().strip(".") for one in found if one}


def _entries(changelog: str) -> list[str]:
    return changelog.partition("## [Unreleased]")[2].partition("\n## ")[0].splitlines()


def _mark(entry: str) -> str:
    return blake2b(entry.strip().encode(), digest_size=4).hexdigest()


def marks(changelog: str) -> str:
    """Return the lines of `released.txt` that tell what [Unreleased] of *changelog* says already.

    They are needed where names are taken down between two releases; at a release, [Unreleased] is empty.
    """
    known = [_mark(one) for one in _entries(changelog) if one.strip()]
    return "".join(f"{_BEFORE}{' '.join(known[n : n + 12])}\n" for n in range(0, len(known), 12))


def said_before(text: str) -> set[str]:
    """Return the marks in *text*, as `released.txt` holds them."""
    lines = [line.removeprefix(_BEFORE) for line in text.splitlines() if line.startswith(_BEFORE)]
    return {one for line in lines for one in line.split()}


def _covers(name: str, public: Names, released: Names) -> Iterator[str]:
    """Return *name* and what stands for it."""
    yield name
    owner = name.rpartition(".")[0]
    if name.endswith(".__init__"):
        yield owner
    while owner:
        if (owner in public) != (owner in released) or _is_old(owner, public):
            yield owner
        owner = owner.rpartition(".")[0]


def _is_named(name: str, words: set[str]) -> bool:
    parts = name.lower().split(".")
    fewest = 1 if _is_exported(name) else 2
    tails = [".".join(parts[-count:]) for count in range(fewest, len(parts) + 1)]
    patterns = [one for one in words if "*" in one and re.match(r"\w+\.", one)]
    return not words.isdisjoint(tails) or any(fnmatchcase(tail, one) for tail in tails for one in patterns)


def _is_exported(name: str) -> bool:
    """Whether *name* is what a module exports, and no part of a class."""
    return not any(part[:1].isupper() for part in name.split(".")[:-1])


def _is_old(name: str, names: Names) -> bool:
    return _OLD.match(names.get(name, "")) is not None


def refused(public: Names, released: Names, last: tuple[int, int]) -> list[str]:
    """Return why names may not go the way they do after release *last*.

    A name may go one minor release after the one that deprecated it, which said so: `deprecated until 0.4`.
    """
    following = (last[0], last[1] + 1)
    wrong: list[str] = []
    for name in sorted({*whole(released)} - {*whole(public)} - _aliases(released)):
        old = next((one for one in _owners(name) if _OLD.match(released.get(one, ""))), name)
        mark = _OLD.match(released.get(old, ""))
        if any(_is_old(one, public) for one in _owners(name)):
            continue  # its owner is another one's name now
        if mark is None:
            wrong.append(f"{name} is gone, and no release deprecated it")
        elif (until := (int(mark[1]), int(mark[2]))) > following and until[0] <= last[0]:
            wrong.append(f"{name} is gone too early: it was promised until {mark[1]}.{mark[2]}")
    for name, said in public.items():
        mark = _OLD.match(said)
        if mark and not _is_old(name, released) and (int(mark[1]), int(mark[2])) <= following:
            wrong.append(
                f"{name} has to last longer than the release that deprecates it, {following[0]}.{following[1]}"
            )
    return wrong


def _owners(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


if __name__ == "__main__":  # what to put at the head of released.txt, of the changelog that is named
    sys.stdout.write(marks(Path(sys.argv[1]).read_text(encoding="utf-8")))
