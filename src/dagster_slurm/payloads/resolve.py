"""From what the user wrote as ``payload_path`` to a payload: a script, ``python -m module``, or a command as a list."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import ConfigurationError, PayloadNotFound
from . import modules
from .interpreter import HEAD_SIZE, INTERPRETERS, interpreter_of, is_python
from .look_up import PathLike, is_file, is_folder, look_up, near_matches
from .payload import PYTHON, Payload


def resolve(payload_path: PathLike | Sequence[str], *, beside: Path | None, cwd: Path) -> Payload:
    """Find a payload.

    Args:
        payload_path: a script's path, ``"python -m package.module [args]"``, or a command as a list.
        beside: the folder of the file that defines the asset; relative paths are looked up there first.
        cwd: the working directory, looked at next.

    Raises:
        PayloadNotFound: nothing is there; says where it looked.
        ConfigurationError: it is there, but nothing says how to start it.
    """
    if not isinstance(payload_path, (str, os.PathLike)):
        return _command(payload_path, beside, cwd)
    text = os.fspath(payload_path)
    if isinstance(payload_path, str):
        words = _python_m(text)
        if words is not None:
            return _module(words[2], words[3:], beside, cwd)
    if not text or "\0" in text:
        raise ConfigurationError(f"payload_path={text!r} is no path", hint="give a script's path")
    return _script(text, beside, cwd)


# --- scripts


def _script(text: str, beside: Path | None, cwd: Path) -> Payload:
    places = look_up(text, beside, cwd)
    found = next((place for place in places if is_file(place)), None)
    if found is None:
        raise _not_found(text, places)
    return _of_file("script", found, ())


def _of_file(
    kind: Literal["script", "command"], found: Path, args: Sequence[str], interpreter: tuple[str, ...] | None = None
) -> Payload:
    found = Path(os.path.realpath(found.parent)) / found.name
    if interpreter is None:
        interpreter = interpreter_of(found.name, _head(found), executable=os.access(found, os.X_OK))
    return Payload(
        kind,
        root=found.parent,
        entry=found.name,
        args=tuple(args),
        interpreter=interpreter,
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_SIZE)
    except OSError as error:
        raise ConfigurationError(f"The payload {path} cannot be read: {error.strerror}") from error


# --- python -m


def _python_m(text: str) -> list[str] | None:
    """Return the words of ``python -m module args``, or None if that is not what was written."""
    if text.split()[:2] not in (["python", "-m"], ["python3", "-m"]):
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise PayloadNotFound(f"payload_path={text!r} cannot be split into words: {error}") from error
    if len(words) < 3 or not all(part.isidentifier() for part in words[2].split(".")):
        raise PayloadNotFound(f"payload_path={text!r} names no module", hint="write 'python -m package.module'")
    return words


def _module(module: str, args: Sequence[str], beside: Path | None, cwd: Path) -> Payload:
    folders = modules.search_path(beside, cwd)
    source = modules.locate(module, folders)
    if source is None and modules.of_standard_library(module):
        return Payload("module", module=module, args=tuple(args))
    source = source or modules.locate_hooked(module, cwd)
    if source is None:
        raise _no_module(module, folders)
    return Payload(
        "module",
        root=source.root,
        entry=source.entry,
        module=module,
        args=tuple(args),
        python_path=(".",),
        parts=() if source.part is None else (source.part,),
    )


def _no_module(module: str, folders: Sequence[Path]) -> PayloadNotFound:
    looked = {"looked in": ", ".join(map(str, folders))}
    if modules.exists(module, folders):
        return PayloadNotFound(
            f"{module!r} is a package without __main__.py, which 'python -m' cannot run",
            hint=f"name a module of it, or add {module.replace('.', '/')}/__main__.py",
            details=looked,
        )
    return PayloadNotFound(
        f"There is no module {module!r} here",
        hint=f"if it is installed on the target only, give the command as a list: ['python', '-m', {module!r}]",
        details=looked,
    )


# --- commands


def command_on_target(words: Sequence[str]) -> Payload:
    """Return a command all of whose words mean something on the target; nothing is looked for here.

    Raises:
        ConfigurationError: it is empty, or a word is no text.
    """
    argv = [_word(word) for word in words]
    if not argv or not argv[0]:
        raise ConfigurationError("payload_path is an empty command", hint="give a script's path or a list of words")
    return Payload("command", args=tuple(argv[1:]), interpreter=(PYTHON if is_python(argv[0]) else argv[0],))


def _command(words: Sequence[str], beside: Path | None, cwd: Path) -> Payload:
    plain = command_on_target(words)
    argv = [_word(word) for word in words]
    script = _local_script(argv[0], beside, cwd)
    if script is not None:
        return _of_file("command", script, argv[1:])
    first = PYTHON if is_python(argv[0]) else argv[0]
    if len(argv) > 1 and (first == PYTHON or first in INTERPRETERS):
        script = _beside(argv[1], beside, cwd)
        if script is not None:
            return _of_file("command", script, argv[2:], (first,))
    return plain


def _word(word: object) -> str:
    if not isinstance(word, (str, os.PathLike)):
        raise ConfigurationError(f"payload_path: {word!r} in the command is not a text", hint=f"write {str(word)!r}")
    text = os.fspath(word)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not isinstance(text, str) or "\0" in text:
        raise ConfigurationError(f"payload_path: {text!r} cannot be a word of a command")
    return text


def _local_script(word: str, beside: Path | None, cwd: Path) -> Path | None:
    """Return the file that a command's first word means; a bare word is a program on PATH, as in a shell."""
    if "/" not in word and Path(word).suffix == "":
        return None
    return _beside(word, beside, cwd)


def _beside(word: str, beside: Path | None, cwd: Path) -> Path | None:
    """Return the file that a word names below ``beside`` or ``cwd``; others (``/bin/bash``) are the target's own."""
    bases = [base for base in (beside, cwd) if base is not None]
    for place in look_up(word, beside, cwd):
        ours = not Path(word).is_absolute() or any(place.is_relative_to(base) for base in bases)
        if ours and is_file(place):
            return place
    return None


# --- what was meant


def _not_found(text: str, places: Sequence[Path]) -> PayloadNotFound:
    details = {"looked for": ", ".join(map(str, places))}
    near = near_matches(places)
    if near:
        details["did you mean"] = ", ".join(near)
    folder = next((place for place in places if is_folder(place)), None)
    if folder is not None:
        return PayloadNotFound(f"The payload {folder} is a folder", hint="name the script in it", details=details)
    hint = "a relative path is looked up beside the file that defines the asset, then in the working directory"
    if any(map(str.isspace, text)):
        hint = f"a command is given as a list of words: payload_path={_words(text)!r}"
    return PayloadNotFound(f"There is no payload {text!r}", hint=hint, details=details)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
