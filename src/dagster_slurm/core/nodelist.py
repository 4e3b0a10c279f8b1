"""Lists of nodes as Slurm writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: a name, with ranges in brackets where several differ in a number
_PART = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")
_BRACKETS = re.compile(r"\[([^\]]*)\]")


def names(text: str) -> list[str]:
    """Return the names in a list such as ``node[1-3,07],gpu1``, as ``scontrol show hostnames`` does."""
    return [name for part in _PART.findall(text) for name in _expanded(part)]


def _expanded(part: str) -> Iterator[str]:
    match = _BRACKETS.search(part)
    if match is None:
        yield part
        return
    for item in match[1].split(","):
        first, dash, last = item.partition("-")
        numbers = range(int(first), int(last) + 1) if dash else (int(first),)
        for number in numbers:
            # what the first one begins with zeros, all do
            yield from _expanded(part[: match.start()] + str(number).zfill(len(first)) + part[match.end() :])
