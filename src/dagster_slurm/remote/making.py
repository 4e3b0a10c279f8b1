"""Fills an environment from packages that lie here: offline, politely, by uv or by what pixi-pack made."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from typing import Any, Dict, List

from . import members, packages, prelude, rundir, sharing

_TIMEOUT = 3600.0
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


def with_uv(base: str, made: str, order: Dict[str, Any], cache: str) -> None:
    """Make an environment of wheels, with their hashes checked, linked to a cache on the same file system."""
    uv = _tool(base, order["tool"], "uv")
    requirements = made + ".txt"
    rundir.write_whole(requirements, order["requirements"].encode("utf-8"))
    variables = {"UV_CACHE_DIR": cache}
    create = [uv, "venv", "-q", "--no-project", "--relocatable", "--python", order["python"], made]
    _run(order, create, variables)
    install = [uv, "pip", "install", "-q", "--no-index", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    install += ["--link-mode", "hardlink", "--python", os.path.join(made, "bin", "python")]
    for sha, _, name in order["packages"]:
        install += ["--find-links", _named(base, sha, name)]
    install += ["--compile-bytecode"] if order.get("compile") else []
    if order["packages"]:
        _run(order, [*install, "-r", requirements], variables)
    os.unlink(requirements)


def with_pixi(base: str, made: str, order: Dict[str, Any]) -> None:
    """Unpack what pixi-pack made to where it is to stay, since its files name that place."""
    if order.get("pack") == "directory":
        temporary = tempfile.mkdtemp(prefix=".pack.", dir=os.path.dirname(made))
        try:
            archive = os.path.join(temporary, "environment.tar")
            _as_archive(base, archive, order)
            _run(order, [_tool(base, order["tool"], "pixi-unpack"), "--output-directory", made, archive], {})
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    else:
        _run(order, ["bash", packages.path(base, order["tool"][0]), "--output-directory", made], {})
    os.stat(os.path.join(made, "activate.sh"))
    if order.get("compile"):
        python = os.path.join(made, "env", "bin", "python")
        if os.access(python, os.X_OK):
            # files for other versions of Python do not compile, and need not
            compiling = [python, "-m", "compileall", "-q", "-j", "2", os.path.join(made, "env", "lib")]
            prelude.run(order["prelude"], compiling, {}, _TIMEOUT)


def _as_archive(base: str, archive: str, order: Dict[str, Any]) -> None:
    """Put the packages of a pack together again, as the file that pixi-unpack takes."""
    import tarfile  # noqa: PLC0415 - most agents never need it

    with tarfile.open(archive, "w", dereference=True) as tar:
        for sha, _, name in order["packages"]:
            if os.path.isabs(name) or ".." in name.split("/"):
                raise NotBuilt("the pack has a file outside of itself: %s" % name, [], 1, "")
            tar.add(packages.path(base, sha), arcname=name)


def _named(base: str, sha: str, name: str) -> str:
    """Return a folder with a package under its file name. It stays: uv unpacks once per path, and links from there."""
    place = os.path.join(base, "wheels", sha)
    link = os.path.join(place, name)
    if not os.path.lexists(link):
        escaping = members.leading_out(packages.path(base, sha))
        if escaping:
            raise NotBuilt("the wheel %s is refused, since its member %s" % (name, escaping), [], 1, "")
        sharing.make_folder(base, place)
        with contextlib.suppress(FileExistsError):
            os.symlink(os.path.join("..", "..", "packages", sha), link)
    return place


def _run(order: Dict[str, Any], argv: List[str], variables: Dict[str, str]) -> None:
    try:
        done = prelude.run(order["prelude"], argv, dict(_MANNERS, **variables), _TIMEOUT)
    except subprocess.TimeoutExpired:
        raise NotBuilt("did not end within %d s" % _TIMEOUT, argv, -1, "")  # noqa: B904
    if done.code != 0:
        log = done.err.strip()[-4000:]
        raise NotBuilt(_last_line(log) or "%s failed" % os.path.basename(argv[0]), argv, done.code, log)


def _last_line(log: str) -> str:
    return log.rsplit("\n", maxsplit=1)[-1].strip(" ╰▶─│├")


def cache(base: str) -> str:
    """Return where uv keeps unpacked wheels, which environments are linked to; each account has its own."""
    return os.path.join(base, "cache", str(os.getuid())) if sharing.is_common(base) else os.path.join(base, "cache")


def forget_tools(base: str, damaged: List[str]) -> None:
    """Remove programs that were taken from packages that turned out damaged."""
    folder = os.path.join(base, "tools")
    for name in os.listdir(folder):
        if name.rpartition("-")[2] in [sha[:16] for sha in damaged]:
            os.unlink(os.path.join(folder, name))


def _tool(base: str, tool: List[Any], program: str) -> str:
    """Return the path of a program that travelled, unpacked from its wheel or as it came."""
    sha, _, name = tool
    target = os.path.join(base, "tools", program + "-" + sha[:16])
    if not os.access(target, os.X_OK):
        source = packages.path(base, sha)
        if name.endswith(".whl"):
            with zipfile.ZipFile(source) as wheel:
                inside = [item for item in wheel.namelist() if item.endswith(".data/scripts/uv")]
                rundir.write_whole(target, wheel.read(inside[0]), 0o700)
        else:
            with open(source, "rb") as file:
                rundir.write_whole(target, file.read(), 0o700)
        sharing.open_file(base, target)
    return target
