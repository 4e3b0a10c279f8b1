"""What a payload is, once it has been found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: stands in :attr:`Payload.interpreter` for the Python that the run uses on the target
PYTHON = "{python}"


@dataclass(frozen=True)
class Payload:
    """A payload on this side: what to start, and the folder that travels with it.

    ``interpreter`` and what follows say together how it starts there (see :func:`.interpreter.command`):
    ``interpreter + entry + args`` for scripts and commands, ``python -m module + args`` for modules.
    """

    kind: Literal["script", "module", "command"]
    #: the folder that travels; None: nothing does
    root: Path | None = None
    #: the script (or the module's source), as a posix path relative to ``root``
    entry: str | None = None
    module: str | None = None
    args: tuple[str, ...] = ()
    #: what the target needs on PYTHONPATH, relative to ``root`` (``"."`` is ``root`` itself)
    python_path: tuple[str, ...] = ()
    #: what of ``root`` travels, relative to it; empty: all of it
    parts: tuple[str, ...] = ()
    #: the words before the script; empty: the file itself is the program
    interpreter: tuple[str, ...] = ()
