"""Links of Markdown documents, and what is wrong with them. Pure but for looking whether files are there."""

from __future__ import annotations

import re
from pathlib import Path

_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_EXTERNAL = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./%~+-]*)?(\?[\w=&.-]*)?(#[\w.-]+)?")


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as the builder makes them."""
    found: dict[str, int] = {}
    names: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        count = found.get(slug, -1) + 1
        found[slug] = count
        names.add(f"{slug}_{count}" if count else slug)
    return names


def broken(document: Path, text: str | None = None) -> list[str]:
    """Return what is wrong with the links of a document."""
    text = document.read_text() if text is None else text
    prose = _CODE.sub("", _FENCE.sub("", text))
    return [f"{document.name}: {link}: {why}" for link in _LINK.findall(prose) if (why := _wrong(document, text, link))]


def _wrong(document: Path, text: str, link: str) -> str:
    if re.match(r"[a-z]+:", link):
        return "" if _EXTERNAL.fullmatch(link) else "is not a plain https address"
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    if not target.exists():
        return "there is no such file"
    if not anchor:
        return ""
    if target.suffix != ".md":
        return "has an anchor, and is no document"
    known = anchors(text if target == document else target.read_text())
    return "" if anchor in known else f"there is no such heading, but {', '.join(sorted(known))}"
