"""What a check found: one line, and a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``bad``: runs cannot work so; ``note``: they can, and this is worth knowing
Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Args:
        what: what was looked at.
        level: how it is.
        text: what was seen.
        remedy: what to do about it.
    """

    what: str
    level: Level
    text: str
    remedy: str = ""
