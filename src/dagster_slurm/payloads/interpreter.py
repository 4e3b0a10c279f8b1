"""How a payload is started on the target: argv, never a shell line.

The store may lie on a file system mounted ``noexec``, so a script is handed to its interpreter; only binaries are
started directly.
"""

from __future__ import annotations

import posixpath
import re
import shlex

from ..errors import ConfigurationError
from .payload import PYTHON, Payload

#: bytes of a file's beginning that :func:`interpreter_of` wants to see
HEAD_SIZE = 4096

_BY_SUFFIX: dict[str, tuple[str, ...]] = {
    ".py": (PYTHON,),
    ".sh": ("bash",),
    ".bash": ("bash",),
    ".zsh": ("zsh",),
    ".ksh": ("ksh",),
    ".csh": ("csh", "-f"),
    ".tcsh": ("tcsh", "-f"),
    ".fish": ("fish",),
    ".r": ("Rscript",),
    ".jl": ("julia",),
    ".pl": ("perl",),
    ".rb": ("ruby",),
    ".js": ("node",),
    ".mjs": ("node",),
    ".cjs": ("node",),
    ".lua": ("lua",),
    ".tcl": ("tclsh",),
    ".php": ("php",),
    ".m": ("octave",),
    ".awk": ("awk", "-f"),
}
#: programs that take a script as their first argument
INTERPRETERS = frozenset(words[0] for words in _BY_SUFFIX.values() if len(words) == 1) | {"sh", "dash"}

_BINARY = (
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
_PYTHON_NAME = re.compile(r"python(\d+(\.\d+)?)?\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def command(payload: Payload, code_dir: str, python: str) -> tuple[str, ...]:
    """Return the argv that starts ``payload`` on the target.

    Args:
        payload: what to start.
        code_dir: where the payload's folder lies there.
        python: the run's Python there.
    """
    if payload.module is not None:
        return (python, "-m", payload.module, *payload.args)
    words = tuple(python if word == PYTHON else word for word in payload.interpreter)
    if payload.entry is None:
        return (*words, *payload.args)
    return (*words, posixpath.join(code_dir, payload.entry), *payload.args)


def python_path(payload: Payload, code_dir: str) -> tuple[str, ...]:
    """Return the folders that the payload needs at the beginning of PYTHONPATH on the target."""
    return tuple(posixpath.normpath(posixpath.join(code_dir, folder)) for folder in payload.python_path)


def interpreter_of(name: str, head: bytes, *, executable: bool) -> tuple[str, ...]:
    """Return the words that go before a script; none for a binary.

    Args:
        name: the file's name.
        head: its first :data:`HEAD_SIZE` bytes.
        executable: whether its owner may execute it.
    """
    if name.lower().endswith(".py"):
        return (PYTHON,)
    if head.startswith(_BINARY):
        if executable:
            return ()
        raise ConfigurationError(f"The payload {name!r} is a program, but it is not executable", hint="chmod +x it")
    words = shebang(head) or _BY_SUFFIX.get(posixpath.splitext(name)[1].lower())
    if words is None:
        raise ConfigurationError(
            f"Nothing says how to start the payload {name!r}: it has no '#!' line and no suffix that we know",
            hint=f"begin the file with a line like '#!/usr/bin/env bash', or name its interpreter in a list: "
            f"payload_path=['bash', {name!r}]",
        )
    return words


def shebang(head: bytes) -> tuple[str, ...] | None:
    """Parse a ``#!`` line into argv as the kernel and ``env`` would; any Python becomes the run's Python."""
    if not head.startswith(b"#!"):
        return None
    line = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    program, _, argument = line.replace("\t", " ").partition(" ")
    argument = argument.strip()
    if not program:
        return None
    words = _env(argument) if posixpath.basename(program) == "env" else (program, *((argument,) if argument else ()))
    if words and _PYTHON_NAME.match(posixpath.basename(words[0])):
        return (PYTHON, *words[1:])
    return words or None


def is_python(word: str) -> bool:
    """Return whether a command's first word asks for "the" Python: the run's, whatever its name there."""
    return word in ("python", "python3")


def _env(argument: str) -> tuple[str, ...]:
    """Return what ``env ARGUMENT`` runs. Without ``-S`` Linux would take several words for one; nobody means that."""
    option = next((o for o in ("--split-string=", "--split-string ", "-S") if argument.startswith(o)), "")
    words = _split(argument[len(option) :])
    return ("env", *words) if words and _needs_env(words[0]) else words


def _needs_env(word: str) -> bool:
    return word.startswith("-") or _ASSIGNMENT.match(word) is not None


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())
