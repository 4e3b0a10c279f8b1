"""Unpacks an environment that is one file; runs on compute nodes. See :mod:`.node_local`."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from typing import Any, BinaryIO, Dict, Iterator, Optional, Set

MARKS, READY, FILES = ".dagster-slurm", "ready", "files"


class Impossible(Exception):
    """It cannot be unpacked on this node."""


class Damaged(Exception):
    """The file on the shared file system is not what it was."""


def facts_of(shared: str) -> Dict[str, Any]:
    """Return what the archive is.

    Raises:
        Damaged: nobody knows any more.
    """
    try:
        with open(os.path.join(shared, "archive.json"), "rb") as file:
            facts: Dict[str, Any] = json.loads(file.read().decode("utf-8"))
            return facts
    except (OSError, ValueError) as error:
        raise Damaged("the environment %s is not whole any more: archive.json: %s" % (shared, error))  # noqa: B904


def is_whole(path: str, key: str) -> bool:
    """Whether all files lie there: nodes tidy their temporary folders as well."""
    try:
        with open(os.path.join(path, MARKS, READY)) as file:
            if file.read().strip() != key:
                return False
        with open(os.path.join(path, MARKS, FILES), "rb") as file:
            wanted = {line for line in file.read().split(b"\n") if line}
    except OSError:
        return False
    return wanted <= set(files_in(path))


def files_in(path: str) -> Iterator[bytes]:
    """Yield the files below a folder but for our marks and compiled modules, by their names relative to it."""
    for place_, folders, names in os.walk(os.fsencode(path)):
        folders[:] = [name for name in folders if name not in (b"__pycache__", os.fsencode(MARKS))]
        links = [name for name in folders if os.path.islink(os.path.join(place_, name))]
        for name in names + links:
            yield os.path.relpath(os.path.join(place_, name), os.fsencode(path))


def unpack(shared: str, path: str, facts: Dict[str, Any]) -> None:
    """Unpack an archive, whole or not at all; what lay there before is removed.

    Raises:
        Damaged: it is not what it was.
        Impossible: it cannot be unpacked on this node.
    """
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path, 0o700)
    source = os.path.join(shared, facts["file"])
    try:
        if facts["kind"] == "pixi":
            _run_pack(source, path, facts)
        else:
            with _Hashed(source, facts) as file:
                _extract(file, path)
        listing = b"".join(name + b"\n" for name in sorted(files_in(path)) if b"\n" not in name)
        os.mkdir(os.path.join(path, MARKS), 0o700)
        for name, content in ((FILES, listing), (READY, facts["key"].encode() + b"\n")):
            with open(os.path.join(path, MARKS, name), "wb") as mark:
                mark.write(content)
    except BaseException as error:  # also an interrupt: no half environment
        shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OSError):
            raise Impossible("%s: %s" % (error.filename or path, error.strerror))  # noqa: B904
        raise


class _Hashed:
    """The archive, read once: its content is compared with what was noted while it is unpacked."""

    def __init__(self, source: str, facts: Dict[str, Any]) -> None:
        self._source, self._facts, self._digest = source, facts, hashlib.sha256()
        try:
            self._file: BinaryIO = open(source, "rb")  # noqa: SIM115 - closed in __exit__
        except OSError as error:
            raise Damaged("%s cannot be read: %s" % (source, error.strerror))  # noqa: B904

    def __enter__(self) -> "_Hashed":
        return self

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._digest.update(data)
        return data

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: Any) -> None:
        with self._file:
            for _ in iter(lambda: self.read(1 << 20), b""):
                pass
        if self._digest.hexdigest() != self._facts["sha256"]:
            # whatever went wrong meanwhile did so because of it
            raise Damaged("%s is not what it was when it was made: truncated or changed" % self._source)
        if isinstance(error, (tarfile.TarError, EOFError)):
            raise Impossible("%s: %s" % (self._source, error))


def _extract(file: Any, path: str) -> None:
    """Unpack, and nothing leads out of ``path``: neither names, nor links that later members are written through."""
    folders: Set[str] = {""}
    with tarfile.open(fileobj=file, mode="r|", bufsize=1 << 20) as tar:
        for member in tar:
            name = os.path.normpath(member.name)
            if os.path.isabs(name) or name.split("/")[0] == ".." or os.path.dirname(name) not in folders:
                raise Impossible("the archive has a member that leads out of it: %r" % member.name)
            target = os.path.join(path, name)
            if member.isdir():
                os.mkdir(target, 0o700)
                folders.add(name)
            elif member.issym():
                os.symlink(member.linkname, target)
            elif member.isreg():
                content = tar.extractfile(member)
                with os.fdopen(
                    os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, member.mode & 0o700 | 0o600), "wb"
                ) as out:
                    shutil.copyfileobj(content, out, 1 << 20)  # type: ignore[arg-type]
            else:
                raise Impossible("the archive has a member of another kind: %r" % member.name)


def _run_pack(source: str, path: str, facts: Dict[str, Any]) -> None:
    with _Hashed(source, facts):
        pass
    done = subprocess.run(
        ["bash", source, "--output-directory", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        log = done.stdout.decode("utf-8", "replace").strip()
        raise Impossible("%s ended with %d: %s" % (source, done.returncode, log[-500:]))
