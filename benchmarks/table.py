"""The table that is printed in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_HEADS = ("measure", "raw", "ours", "ratio", "target", "met", "remarks")


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Args:
        measure: what was measured.
        ours: the figure.
        target: what it is held to.
        met: whether it is.
        raw: what the raw commands take, in the same run.
        ratio: ours to raw.
        remark: how it was measured.
        disturbed: other programs kept this machine busy meanwhile.
    """

    measure: str
    ours: str
    target: str
    met: bool
    raw: str = ""
    ratio: float | None = None
    remark: str = ""
    disturbed: bool = False

    def cells(self) -> tuple[str, ...]:
        """Return the line's texts."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        mark = " *" if self.disturbed else ""
        return (
            self.measure,
            self.raw,
            self.ours,
            ratio,
            self.target,
            ("yes" if self.met else "NO") + mark,
            self.remark,
        )


def render(results: Sequence[Result]) -> str:
    """Return the table as text."""
    rows = [_HEADS, *(result.cells() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    if any(result.disturbed for result in results):
        lines.append("* other programs kept this machine busy while this was measured")
    return "\n".join(lines)
