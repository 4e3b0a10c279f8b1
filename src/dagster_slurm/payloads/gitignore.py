"""The patterns of one ``.gitignore``, as git reads them.

For callers that walk a tree from the top and do not enter ignored folders: a pattern is held against an entry itself,
never against what is in it. Libraries that match whole paths at once must guess there (``*``, ``!*/``, ``!*.py``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class Pattern(NamedTuple):
    """One line: what it matches, and what it says about that."""

    regex: re.Pattern[str]
    ignores: bool
    only_folders: bool
    #: it is held against the path below the ``.gitignore``, not just the last name
    anchored: bool


def parse(text: str) -> tuple[Pattern, ...]:
    """Parse a file's text; lines that are malformed match nothing."""
    lines = text.removeprefix("\ufeff").split("\n")
    return tuple(pattern for line in lines if (pattern := parse_line(line.removesuffix("\r"))) is not None)


def parse_line(line: str) -> Pattern | None:
    """Parse one line; None for blank, comment and malformed ones."""
    if line.startswith("#"):
        return None
    line = _without_trailing_blanks(line)
    ignores = not line.startswith("!")
    line = line if ignores else line[1:]
    only_folders = line.endswith("/")
    line = line[:-1] if only_folders else line
    anchored = "/" in line
    line = line.removeprefix("/")
    regex = _regex(line)
    return None if not line or regex is None else Pattern(regex, ignores, only_folders, anchored)


def verdict(patterns: tuple[Pattern, ...], path: str, *, folder: bool) -> bool | None:
    """Return whether an entry is ignored, or None if no pattern speaks of it. The last one that does decides.

    Args:
        patterns: of one file.
        path: of the entry, relative to that file's folder.
        folder: whether it is one.
    """
    name = path.rpartition("/")[2]
    for pattern in reversed(patterns):
        if (folder or not pattern.only_folders) and pattern.regex.fullmatch(path if pattern.anchored else name):
            return pattern.ignores
    return None


def _without_trailing_blanks(line: str) -> str:
    bare = line.rstrip(" ")
    escaped = len(bare) < len(line) and (len(bare) - len(bare.rstrip("\\"))) % 2 == 1
    return bare + " " if escaped else bare


def _regex(glob: str) -> re.Pattern[str] | None:
    """Translate a glob; None if it is malformed."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        piece = _piece(glob, at)
        if piece is None:
            return None
        out.append(piece[0])
        at = piece[1]
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:
        return None


def _piece(glob: str, at: int) -> tuple[str, int] | None:
    """Translate what begins at ``at``; return it and where the next one begins."""
    char = glob[at]
    if char == "\\":
        return (re.escape(glob[at + 1]), at + 2) if at + 1 < len(glob) else None
    if char == "*":
        return _stars(glob, at)
    if char == "?":
        return "[^/]", at + 1
    if char == "[":
        return _bracket(glob, at)
    return re.escape(char), at + 1


def _stars(glob: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(glob) and glob[end] == "*":
        end += 1
    # git compares what is literal up to the first wildcard by itself, so stars right after that begin a name to it
    begins = glob[:at].endswith("/") or set(glob[:at]).isdisjoint("*?[\\")
    ends = end == len(glob) or glob.startswith(("/", "\\/"), end)
    if end - at == 1 or not (begins and ends):
        return "[^/]*", end
    return ("(?:.*/)?", end + 1) if glob.startswith("/", end) else (".*", end)


def _bracket(glob: str, at: int) -> tuple[str, int] | None:
    """Translate ``[...]``; a slash is never in it."""
    at += 1
    negated = glob[at : at + 1] in ("!", "^")
    at += negated
    out: list[str] = []
    first = True
    while at < len(glob) and (first or glob[at] != "]"):
        first = False
        named = re.compile(r"\[:([a-z]*):\]").match(glob, at)
        if named:
            if named[1] not in _POSIX_CLASSES:
                return None
            out.append(_POSIX_CLASSES[named[1]])
            at = named.end()
            continue
        low, at = _char(glob, at)
        high = low
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("", "]"):
            high, at = _char(glob, at + 1)
        out.append(f"{re.escape(low)}-{re.escape(high if low <= high else low)}")
    if at >= len(glob):
        return None
    inside = "".join(out)
    if negated:
        return f"[^/{inside}]", at + 1
    return (f"(?!/)[{inside}]" if inside else "(?!)"), at + 1


def _char(glob: str, at: int) -> tuple[str, int]:
    return (glob[at + 1], at + 2) if glob[at] == "\\" and at + 1 < len(glob) else (glob[at], at + 1)
