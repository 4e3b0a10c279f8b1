"""Waits until all workers of a Spark cluster are up, by its master's web page, and prints figures as JSON.

Ends with 75 and one line that says what is missing.
"""

import argparse
import json
import os
import re
import socket
import sys
import time
import urllib.request
from typing import Any, Dict, List

_PAUSE = 0.1
_NOT_READY = 75
_REGISTERED = "Successfully registered with master"


class NotReady(Exception):
    """What is missing, in one line."""


def main(words: List[str]) -> int:
    """Wait, and print."""
    parser = argparse.ArgumentParser()
    for name in ("state", "nodes", "names", "timeout", "existing", "begun", "version"):
        parser.add_argument("--" + name, default="")
    asked = parser.parse_args(words)
    deadline = time.monotonic() + float(asked.timeout)
    figures: Dict[str, Any] = {"spark_version": asked.version}
    try:
        if asked.existing:
            answers(asked.existing, deadline)
        else:
            figures.update(_workers(asked, deadline))
    except NotReady as error:
        sys.stderr.write("%s\n" % error)
        return _NOT_READY
    figures["spark_ready_seconds"] = round(time.time() - float(asked.begun), 1)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def answers(url: str, deadline: float) -> None:
    """Wait until an existing master takes connections."""
    match = re.match(r"spark://\[?([^\],]+?)\]?:(\d+)", url)
    if match is None:
        return  # k8s:// and the like: Spark itself will say
    while True:
        try:
            socket.create_connection((match.group(1), int(match.group(2))), 5).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise NotReady("no Spark master answers at %s: %s" % (url, error)) from None
            time.sleep(_PAUSE)
        else:
            return


def _workers(asked: Any, deadline: float) -> Dict[str, Any]:
    # proxies of the site know nothing of loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    wanted = int(asked.nodes)
    found: Dict[str, Any] = {}
    while True:
        with open(os.path.join(asked.state, "address")) as file:
            line = file.readline()
        if line.endswith("\n"):
            try:
                with opener.open(line.split()[1] + "/json/", timeout=3) as answer:
                    found = json.loads(answer.read().decode())
            except (OSError, ValueError):
                pass  # not yet
        if found.get("aliveworkers", 0) >= wanted:
            return figures_of(found)
        if time.monotonic() > deadline:
            raise NotReady(missing(asked.state, wanted, asked.names))
        time.sleep(_PAUSE)


def missing(state: str, wanted: int, names: str) -> str:
    """Return the sentence that names the nodes without a worker: by their logs, since nodes may share a host."""
    known = [name for name in names.split(",") if name]
    absent = [rank for rank in range(wanted) if not _registered(os.path.join(state, "worker-%d.log" % rank))]
    return "only %d of %d workers of the Spark cluster were up in time; missing: %s" % (
        wanted - len(absent),
        wanted,
        ", ".join(known[rank] if rank < len(known) else "node %d" % rank for rank in absent) or "unknown",
    )


def _registered(path: str) -> bool:
    try:
        with open(path, errors="replace") as file:
            return _REGISTERED in file.read()
    except OSError:
        return False


def figures_of(found: Dict[str, Any]) -> Dict[str, Any]:
    """Return what the cluster has, for the asset's metadata."""
    return {
        "spark_workers": int(found["aliveworkers"]),
        "spark_cpus": int(found.get("cores", 0)),
        "spark_memory_gib": round(float(found.get("memory", 0)) / 1024, 2),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
