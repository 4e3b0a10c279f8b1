"""Where the programs lie that launchers send along."""

from __future__ import annotations

from pathlib import Path

_SHELL = Path(__file__).parent / "sh"
_PYTHON = Path(__file__).parent.parent / "remote"

#: what starts, watches and ends daemons on all nodes
CLUSTER = ("notes.sh", "step.sh", "machine.sh", "cluster.sh", "node.sh", "node_address.py")


def programs(*names: str) -> dict[str, Path]:
    """Return our own programs by name: shell from ``launchers/sh``, Python from ``remote``."""
    return {name: (_PYTHON if name.endswith(".py") else _SHELL) / name for name in names}
