"""The documentation as a whole: every page is in the navigation, links lead somewhere, `make docs` builds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.links import anchors, broken

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
GROUPS = ["Tutorial", "How to", "Reference", "Explanation"]


def navigation() -> dict[str, list[str]]:
    """Pages by group."""
    settings: dict[str, Any] = tomllib.loads((REPOSITORY / "zensical.toml").read_text())
    found: dict[str, list[str]] = {}
    for entry in settings["project"]["nav"]:
        for name, below in entry.items():
            found[name] = [below] if isinstance(below, str) else [page for item in below for page in item.values()]
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    """A new page goes into zensical.toml, and into the table of docs/index.md."""
    pages = [page for group in navigation().values() for page in group]
    assert sorted(pages) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_pages_are_grouped() -> None:
    assert [name for name in navigation() if name != "dagster-slurm"] == GROUPS
    assert all(navigation().values())


def test_the_first_page_leads_to_all_others() -> None:
    text = (DOCS / "index.md").read_text()
    assert not [page.name for page in PAGES if page.name != "index.md" and f"({page.name})" not in text]


@pytest.mark.parametrize("document", [*sorted(REPOSITORY.glob("*.md")), *PAGES], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    assert broken(document) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[a](nothing.md)", "no such file"),
        ("[a](index.md#nothing)", "no such heading"),
        ("# One\n[a](index.md#two)", "no such heading"),
        ("[a](http://example.org)", "not a plain https"),
        ("[a](https://example.org/with<angle)", "not a plain https"),
        ("![picture](pictures/nothing.png)", "no such file"),
    ],
)
def test_a_link_that_leads_nowhere(text: str, why: str) -> None:
    (found,) = broken(DOCS / "page.md", text)
    assert why in found


def test_links_that_are_fine() -> None:
    text = "# One, two\n## One, two\n[a](#one-two) [b](#one-two_1) [c](index.md) `[d](no)`\n```\n[e](no)\n```\n"
    assert broken(DOCS / "index.md", text) == []
    assert anchors(text) == {"one-two", "one-two_1"}


@pytest.mark.slow  # installs the builder
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the builder, Zensical, needs Python 3.11")
def test_it_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(["tools/docs.sh"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"docs: {len(PAGES)} pages")
    reference = (REPOSITORY / "site" / "api" / "index.html").read_text()
    assert "payload_path" in reference
    assert ":class:" not in reference
    # nothing is fetched from other hosts by who reads it
    start = (REPOSITORY / "site" / "index.html").read_text()
    assert "fonts.g" not in start


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the builder, Zensical, needs Python 3.11")
def test_a_broken_link_ends_the_build() -> None:
    page = DOCS / "index.md"
    kept = page.read_text()
    try:
        page.write_text(kept + "\n[nowhere](nothing.md)\n")
        done = subprocess.run(["tools/docs.sh"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    finally:
        page.write_text(kept)
    assert done.returncode == 1
    assert "nothing.md" in done.stderr
