"""Runs in the test job of ``dagster-slurm doctor``: says, as one line of JSON, what a compute node is like."""

import json
import os
import platform
import shutil
import socket
import time
from typing import Any, Dict, List

#: what a node with internet reaches, and how long that is tried, in seconds
_OUTSIDE = (("github.com", 443), ("www.python.org", 443))
_PATIENCE = 5.0
_PROGRAMS = ("apptainer", "singularity", "podman", "enroot", "docker", "java", "nvidia-smi")


def main() -> None:
    """Look and tell."""
    print(json.dumps(facts()))


def facts() -> Dict[str, Any]:
    """Return what is to be told."""
    return {
        "time": time.time(),
        "node": platform.node(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "programs": [name for name in _PROGRAMS if shutil.which(name)],
        "reached": _reached(),
        "proxy": bool(os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")),
        "tmp_free": _free("/tmp"),
    }


def _reached() -> List[str]:
    found: List[str] = []
    for place in _OUTSIDE:
        try:
            socket.create_connection(place, _PATIENCE).close()
        except OSError:
            continue
        found.append(place[0])
        break
    return found


def _free(path: str) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


if __name__ == "__main__":
    main()
