"""Which Pythons a job would find here: name, version and platform of each, asked from itself."""

import contextlib
import hashlib
import json
import os
import subprocess
import time
from typing import Any, Dict, List

from . import prelude, rundir, sharing

#: how long an answer is believed while the programs stay as they are, in seconds
_BELIEVED = 6 * 3600.0
_TIMEOUT = 120.0
_FORMAT = 1

_ASK = r"""
import json, os, platform, sys, sysconfig
def libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""
print("dagster-slurm:" + json.dumps({
    "path": sys.executable, "version": platform.python_version(), "machine": platform.machine(), "libc": libc(),
    "system": platform.system(), "platform": sys.platform, "os": os.name, "release": platform.release(),
    "build": platform.version(), "implementation": platform.python_implementation(), "mac": platform.mac_ver()[0],
    "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")), "bits": 64 if sys.maxsize > 2**32 else 32}))
"""
_EACH = r"""
code=$1
shift
for name do
    path=$(command -v "$name" 2>/dev/null) || continue
    "$path" -I -S -c "$code" 2>/dev/null
done
exit 0
"""


class Unusable(Exception):
    """The prelude fails here, or takes too long."""


def find(base: str, names: List[str], lines: List[str]) -> List[Dict[str, Any]]:
    """Return those of the named Pythons that work after the prelude, in the order of their names.

    The answer is kept below ``base``: modules may take a second to load.

    Raises:
        Unusable: the prelude fails.
    """
    asked = hashlib.sha256(json.dumps([_FORMAT, os.getuid(), names, lines]).encode()).hexdigest()
    note = os.path.join(base, "pythons", asked[:32] + ".json")
    known = _remembered(note)
    if known is not None:
        return known
    try:
        done = prelude.run(lines, ["bash", "-c", _EACH, "bash", _ASK, *names], {}, _TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Unusable("the prelude did not end within %d s on the login node" % _TIMEOUT)  # noqa: B904
    if done.code == prelude.PRELUDE_FAILED:
        raise Unusable(done.err.strip()[-2000:])
    found = _parsed(done.out)
    with contextlib.suppress(PermissionError):  # a folder of others: it is asked again next time
        sharing.make_folder(base, os.path.dirname(note))
        rundir.write_whole(note, json.dumps({"found": found, "stamps": _stamps(found)}).encode())
    return found


def _parsed(text: str) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = []
    for line in text.split("\n"):
        if line.startswith("dagster-slurm:"):
            python = json.loads(line[len("dagster-slurm:") :])
            if python not in found:
                found.append(python)
    return found


def _remembered(note: str) -> Any:
    try:
        if time.time() - os.stat(note).st_mtime > _BELIEVED:
            return None
        kept = json.loads(rundir.read_text(note))
        return kept["found"] if kept["found"] and kept["stamps"] == _stamps(kept["found"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamps(found: List[Dict[str, Any]]) -> List[List[float]]:
    stamps: List[List[float]] = []
    for python in found:
        status = os.stat(python["path"])
        stamps.append([status.st_mtime, status.st_size])
    return stamps
