"""Environments built here from packages that travelled: ``<base>/built/<key>/``, offline, whole or not at all.

``.dagster-slurm/`` in an environment holds ``ready`` (its key; written last, touched when it is used), ``files`` (what
lies in it), ``about.json``, and ``bases`` (under which folders runs use it).
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from typing import Any, ContextManager, Dict, List

from . import long_lock, packages, prelude, rundir

MARKS = ".dagster-slurm"
READY, FILES, ABOUT, BASES = "ready", "files", "about.json", "bases"
_NEW, _GONE = ".new.", ".gone."
_TIMEOUT = 3600.0
#: seconds after which a build that nobody touches was killed
_ABANDONED = 3600.0
#: how often a use is noted, in seconds
_USE_NOTED = 3600.0
#: a guest on a login node: two workers, nothing compiled, nothing fetched
_MANNERS = {
    "UV_OFFLINE": "1",
    "UV_NO_CONFIG": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_CONCURRENT_INSTALLS": "2",
    "UV_CONCURRENT_BUILDS": "1",
    "TOKIO_WORKER_THREADS": "2",
    "RAYON_NUM_THREADS": "2",
}


class NotBuilt(Exception):
    """The environment could not be built: what failed, with which exit code, and what it said."""

    def __init__(self, text: str, command: List[str], code: int, log: str) -> None:
        super().__init__(text)
        self.facts: Dict[str, Any] = {"command": command, "code": code, "log": log}


def folder(base: str) -> str:
    """Return the folder of all environments."""
    return os.path.join(base, "built")


def is_ready(path: str, key: str, runs: str = "") -> bool:
    """Whether an environment is there and whole as far as we know; notes that runs below ``runs`` use it."""
    marks = os.path.join(path, MARKS)
    ready = os.path.join(marks, READY)
    if rundir.read_text(ready).strip() != key:
        return False
    if runs:
        with contextlib.suppress(OSError):  # somebody else's: theirs to note
            _note_use(marks, runs)
    return True


def _note_use(marks: str, runs: str) -> None:
    ready, bases = os.path.join(marks, READY), os.path.join(marks, BASES)
    if time.time() - os.stat(ready).st_mtime > _USE_NOTED:
        os.utime(ready, None)
    if runs not in rundir.read_text(bases).split("\n"):
        with open(bases, "ab") as file:
            file.write(os.fsencode(runs) + b"\n")


def build(base: str, order: Dict[str, Any]) -> Dict[str, Any]:
    """Make sure that an environment is there; may be asked for by several at once, and repeated.

    Args:
        base: the folder with environments and packages.
        order: ``kind``, "uv" or "pixi"; ``key``; ``python``, its path; ``prelude``; ``tool`` (uv, or the archive of
            pixi-pack) and ``packages``, as ``[sha256, size, file name]``;
            ``requirements``, with hashes; ``force``, to build it anew; ``compile``, to compile its modules;
            ``about``, facts to keep.

    Returns:
        ``missing`` packages, if there are any; else ``built`` (by us, or earlier by somebody else) and ``seconds``.

    Raises:
        NotBuilt: a command failed.
        OSError: disk or quota full, and the like.
        rundir.Locked: others have been building for very long.
    """
    path = os.path.join(folder(base), order["key"])
    begun = time.monotonic()
    for needed in (folder(base), os.path.join(base, "tools")):
        rundir.make_private(needed)
    with building(base):
        if not order.get("force") and is_ready(path, order["key"]):
            return {"built": False, "seconds": 0.0}
        sweep(base)
        needed = [order["tool"], *order["packages"]]
        lacking = packages.missing(base, [[sha, size] for sha, size, _ in needed])
        if lacking:
            return {"missing": lacking}
        temporary = tempfile.mkdtemp(prefix=_NEW + order["key"][:16] + ".", dir=folder(base))
        try:
            if order["kind"] == "pixi":
                _unpack(base, path, order)
            else:
                _fill(base, temporary, order)
                _publish(os.path.join(temporary, "environment"), path)
        except NotBuilt:
            # what disks did to a package since it came shows here: it is sent again
            if not packages.remove_damaged(base, [sha for sha, _, _ in needed]):
                raise
            return {"missing": packages.missing(base, [[sha, size] for sha, size, _ in needed])}
        finally:
            remove_tree(temporary)
    return {"built": True, "seconds": round(time.monotonic() - begun, 3)}


def sweep(base: str) -> None:
    """Remove what builds that were killed left behind; to be called while :func:`building`."""
    for name in os.listdir(folder(base)):
        path = os.path.join(folder(base), name)
        with contextlib.suppress(OSError):
            if (name.startswith(_NEW) or _GONE in name) and time.time() - os.stat(path).st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def building(base: str) -> ContextManager[None]:
    """Build one at a time, which is what login nodes like, and what cleaning needs."""
    return long_lock.hold(os.path.join(folder(base), ".building"), _TIMEOUT)


def remove_tree(path: str) -> None:
    """Remove an environment or what was to be one, at once under its name."""
    aside = "%s%s%d" % (path, _GONE, time.time() * 1000)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)


def _fill(base: str, temporary: str, order: Dict[str, Any]) -> None:
    uv = _tool(base, order["tool"])
    requirements = os.path.join(temporary, "requirements.txt")
    rundir.write_whole(requirements, order["requirements"].encode("utf-8"))
    made = os.path.join(temporary, "environment")
    _run(base, order, [uv, "venv", "-q", "--no-project", "--relocatable", "--python", order["python"], made])
    install = [uv, "pip", "install", "-q", "--no-index", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    install += ["--link-mode", "hardlink", "--python", os.path.join(made, "bin", "python")]
    for sha, _, name in order["packages"]:
        install += ["--find-links", _named(base, sha, name)]
    install += ["--compile-bytecode"] if order.get("compile") else []
    if order["packages"]:
        _run(base, order, [*install, "-r", requirements])
    _mark(made, order)
    packages.mark_used(base, [sha for sha, _, _ in [order["tool"], *order["packages"]]])


def _unpack(base: str, path: str, order: Dict[str, Any]) -> None:
    """Run the self-extracting archive of pixi-pack: where the environment is to stay, since its files name that place.

    Without its mark, which comes last, it counts for nothing.
    """
    if os.path.lexists(path):
        remove_tree(path)
    os.mkdir(path, 0o700)
    try:
        _run(base, order, ["bash", packages.path(base, order["tool"][0]), "--output-directory", path])
        os.stat(os.path.join(path, "activate.sh"))
        _mark(path, order)
    except BaseException:
        remove_tree(path)
        raise


def _named(base: str, sha: str, name: str) -> str:
    """Return a folder with a package under its file name. It stays: uv unpacks once per path, and links from there."""
    place = os.path.join(base, "wheels", sha)
    rundir.make_private(place)
    with contextlib.suppress(FileExistsError):
        os.symlink(os.path.join("..", "..", "packages", sha), os.path.join(place, name))
    return place


def _run(base: str, order: Dict[str, Any], argv: List[str]) -> None:
    variables = dict(_MANNERS, UV_CACHE_DIR=os.path.join(base, "cache"))
    try:
        done = prelude.run(order["prelude"], argv, variables, _TIMEOUT)
    except subprocess.TimeoutExpired:
        raise NotBuilt("did not end within %d s" % _TIMEOUT, argv, -1, "")  # noqa: B904
    if done.code != 0:
        log = done.err.strip()[-4000:]
        raise NotBuilt(_last_line(log) or "uv failed", argv, done.code, log)


def _last_line(log: str) -> str:
    return log.rsplit("\n", maxsplit=1)[-1].strip(" ╰▶─│├")


def _tool(base: str, tool: List[Any]) -> str:
    """Return the path of uv, unpacked from its wheel or as it came."""
    sha, _, name = tool
    target = os.path.join(base, "tools", "uv-" + sha[:16])
    if not os.access(target, os.X_OK):
        source = packages.path(base, sha)
        if name.endswith(".whl"):
            with zipfile.ZipFile(source) as wheel:
                inside = [item for item in wheel.namelist() if item.endswith(".data/scripts/uv")]
                rundir.write_whole(target, wheel.read(inside[0]), 0o700)
        else:
            with open(source, "rb") as file:
                rundir.write_whole(target, file.read(), 0o700)
    return target


def _mark(made: str, order: Dict[str, Any]) -> None:
    names: List[str] = []
    size = 0
    for place, folders, files in os.walk(made):
        folders[:] = [name for name in folders if name != "__pycache__"]
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in files + links:
            file = os.path.join(place, name)
            size += os.lstat(file).st_size
            names.append(os.path.relpath(file, made))
    marks = os.path.join(made, MARKS)
    os.mkdir(marks, 0o700)
    listing = "".join(name + "\n" for name in sorted(names) if "\n" not in name)
    rundir.write_whole(os.path.join(marks, FILES), listing.encode("utf-8", "surrogateescape"))
    about = dict(order.get("about", {}), key=order["key"], python=order["python"], files=len(names), bytes=size)
    about.update(packages=len(order["packages"]), built=round(time.time(), 3))
    rundir.write_whole(os.path.join(marks, ABOUT), json.dumps(about, sort_keys=True).encode())
    rundir.write_whole(os.path.join(marks, READY), order["key"].encode() + b"\n")


def about(path: str) -> Dict[str, Any]:
    """Return what is known of an environment; nothing if it is not one of ours."""
    try:
        facts: Dict[str, Any] = json.loads(rundir.read_text(os.path.join(path, MARKS, ABOUT)))
    except ValueError:
        return {}
    return facts


def _publish(made: str, path: str) -> None:
    if os.path.lexists(path):
        remove_tree(path)
    os.rename(made, path)
