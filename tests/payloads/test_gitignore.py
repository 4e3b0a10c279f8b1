"""Patterns against git itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_slurm.payloads.gitignore import parse, verdict

PIECES = ["a", "b", "ab", "*", "**", "?", "/", "/", "!", "[ab]", "[!a]", "[a-b]", "[", "]", "\\", " ", ".", "#", "-"]
LINES = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join), min_size=1, max_size=4)
PATHS = [
    "a",
    "b",
    "ab",
    "a.b",
    "a/a",
    "a/b",
    "b/a",
    "a/b/a",
    "a/b/b/ab",
    "ab/a",
    "ab/ab",
    "#",
    "!",
    "-",
    "[",
    "]a",
    "a b",
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def git_says(checkout: Path, text: str, paths: list[str]) -> dict[str, bool | None]:
    """Ask git about files as if they were there."""
    (checkout / ".gitignore").write_text(text, newline="")
    asked = subprocess.run(
        ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "-z", "-v", "-n", "--no-index", "--stdin"],
        cwd=checkout,
        input="".join(f"{path}\0" for path in paths),
        capture_output=True,
        text=True,
        check=False,
    )
    fields = asked.stdout.split("\0")[:-1]
    rows = [fields[at : at + 4] for at in range(0, len(fields), 4)]
    return {path: None if not pattern else not pattern.startswith("!") for _, _, pattern, path in rows}


def we_say(text: str, path: str) -> bool | None:
    """Walk down to a path as the collector does."""
    patterns = parse(text)
    parts = path.split("/")
    for depth in range(1, len(parts)):
        if verdict(patterns, "/".join(parts[:depth]), folder=True):
            return True
    return verdict(patterns, path, folder=False)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES)
def test_like_git(checkout: Path, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    assert {path: we_say(text, path) for path in PATHS} == git_says(checkout, text, PATHS)


@pytest.mark.parametrize(
    "line",
    [
        "[[:digit:]]x", "[[:alpha:][:digit:]]", "[[:nope:]]", "[]a]", "[^]]", "[a\\]]", "[b-a]", "[--a]", "a\\ ",
        "a\\\\ ", "a  ", " a", "\\!", "\\#", "a/**/b", "a/**", "**/b", "***", "a**b", "/", "//", "a//", "**/", "a\\",
        "[a-", "[!/]b", "a[/]b", "*/b", "?", "!", "[z-a]", "[*]", "a?b", "\ta", "\\a\\b",
    ],
)  # fmt: skip
def test_corners(checkout: Path, line: str) -> None:
    paths = [*PATHS, "1x", "*", "]", "\\", " a", "\ta", "a ", "a\\", "a\\ ", "c", "x/b", "axb", "a/x/b", "a/x/y/b"]
    assert {path: we_say(line, path) for path in paths} == git_says(checkout, line, paths)
