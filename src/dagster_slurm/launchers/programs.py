"""Where the programs lie that launchers send along."""

from __future__ import annotations

from pathlib import Path

_SHELL = Path(__file__).parent / "sh"
_PYTHON = Path(__file__).parent.parent / "remote"


def programs(*names: str) -> dict[str, Path]:
    """Return our own programs by name: shell from ``launchers/sh``, Python from ``remote``."""
    return {name: (_PYTHON if name.endswith(".py") else _SHELL) / name for name in names}
