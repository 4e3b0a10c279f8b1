"""Environments that are one file on the shared file system: many small files are unwelcome there.

In the environment's folder lie ``environment.tar`` (or, for pixi, the file of pixi-pack that unpacks itself, since its
files name the place that they lie at), ``archive.json``, which says what it is, and ``programs``, which unpack it on a
node: see :mod:`.node_local`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from typing import Any, Dict, Generator, Tuple

from . import making, packages, rundir

FACTS, PROGRAMS = "archive.json", "programs"
_TAR, _PACK = "environment.tar", "environment.sh"
#: unpacked wheels and compiled modules, as a multiple of what travelled
_GROWTH = 5


def make(base: str, made: str, order: Dict[str, Any]) -> int:
    """Make the archive in the folder ``made``; return how many files are in it, if that is known.

    Raises:
        making.NotBuilt: a command failed.
        OSError: disk or quota full, and the like.
    """
    write_programs(os.path.join(made, PROGRAMS), order["programs"])
    facts = _pack(base, made, order) if order["kind"] == "pixi" else _tar(base, made, order)
    file = os.path.join(made, facts["file"])
    facts.update(key=order["key"], size=os.stat(file).st_size, sha256=_sha256(file))
    if order["kind"] == "pixi" and facts["sha256"] != order["tool"][0]:
        raise making.NotBuilt("the file of pixi-pack was damaged since it came", [], 1, "")
    rundir.write_whole(os.path.join(made, FACTS), json.dumps(facts, sort_keys=True).encode())
    return int(facts["files"])


def write_programs(folder: str, sources: Dict[str, str]) -> None:
    """Write modules of ours as a package, for a Python on another node."""
    package = os.path.join(folder, "dagster_slurm_remote")
    rundir.make_private(package)
    for name, source in dict(sources, __init__="").items():
        rundir.write_whole(os.path.join(package, name + ".py"), source.encode("utf-8"))


def _pack(base: str, made: str, order: Dict[str, Any]) -> Dict[str, Any]:
    source, target = packages.path(base, order["tool"][0]), os.path.join(made, _PACK)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
    return {"kind": "pixi", "file": _PACK, "files": 0, "bytes": _GROWTH * os.stat(source).st_size}


def _tar(base: str, made: str, order: Dict[str, Any]) -> Dict[str, Any]:
    travelled = sum(size or 0 for _, size, _ in order["packages"])
    with _room(made, _GROWTH * travelled) as temporary:
        environment = os.path.join(temporary, "environment")
        making.with_uv(base, environment, order, os.path.join(temporary, "cache"))
        files, size = _write_tar(os.path.join(made, _TAR), environment)
    return {"kind": "tar", "file": _TAR, "files": files, "bytes": size}


def _write_tar(target: str, environment: str) -> Tuple[int, int]:
    """Return how many files, and how many bytes, are in it."""
    import tarfile  # noqa: PLC0415 - most agents never need it

    files = size = 0
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for place, folders, names in os.walk(environment):
            folders.sort()
            for name in sorted([*folders, *names]):
                path = os.path.join(place, name)
                member = tar.gettarinfo(path, os.path.relpath(path, environment))
                if member.islnk():  # of a file that two wheels share
                    member.type, member.size, member.linkname = tarfile.REGTYPE, os.lstat(path).st_size, ""
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                files, size = files + (not member.isdir()), size + member.size
                if member.isreg():
                    with open(path, "rb") as content:
                        tar.addfile(member, content)
                else:
                    tar.addfile(member)
    return files, size


@contextlib.contextmanager
def _room(made: str, needed: int) -> Generator[str, None, None]:
    """Make a folder for many small files: on this node's own disk, if there is room."""
    local = tempfile.gettempdir()
    free = os.statvfs(local)
    if free.f_bavail * free.f_frsize < needed:
        local = os.path.dirname(made)
    temporary = tempfile.mkdtemp(prefix="dagster-slurm-", dir=local)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sha256(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        for piece in iter(lambda: opened.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
