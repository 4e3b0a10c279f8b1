"""Waits until all workers of a Spark cluster are up, by what their nodes say, and prints figures as JSON.

Each node writes its name, CPUs and memory (MiB) into ``registered.<rank>`` when the master has taken its worker. The
master's web page would tell the same, but answers on its own node alone.

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
_MASTER = re.compile(r"spark://\[?([^\],]+?)\]?:(\d+)")
#: where Spark puts a master's page, and the next ones where that is taken
_PAGES = range(8080, 8083)


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
            check_version(asked.existing, asked.version)
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
    match = _MASTER.match(url)
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


def _host(match: "re.Match[str]") -> str:
    host = match.group(1)
    return "[%s]" % host if ":" in host else host


def check_version(url: str, ours: str) -> None:
    """Say that a master has another version, where its page is to be had: a driver would fail with a riddle."""
    match = _MASTER.match(url)
    if match is None:
        return
    # proxies of the site know nothing of nodes
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for port in _PAGES:
        try:
            with opener.open("http://%s:%d/" % (_host(match), port), timeout=2) as answer:
                theirs = version_on(answer.read(1 << 16).decode("utf-8", "replace"), match.group(2))
        except (OSError, ValueError):
            continue
        if theirs and theirs.split(".")[:2] != ours.split(".")[:2]:
            raise NotReady(
                "the master at %s runs Spark %s, the payload's environment has Spark %s" % (url, theirs, ours)
            )


def version_on(page: str, port: str) -> str:
    """Return the version that a master's page shows, if it is the page of the master on that port."""
    if not re.search(r"spark://\S+:%s\b" % port, page):
        return ""
    found = re.search(r'class="version"[^>]*>\s*([0-9][^<\s]*)', page)
    return found.group(1) if found else ""


def _workers(asked: Any, deadline: float) -> Dict[str, Any]:
    wanted = int(asked.nodes)
    while True:
        found = [registered(asked.state, rank) for rank in range(wanted)]
        if all(found):
            return figures_of(found)
        if time.monotonic() > deadline:
            raise NotReady(missing(found, names_of_step(asked.state) or asked.names))
        time.sleep(_PAUSE)


def registered(state: str, rank: int) -> List[str]:
    """Return name, CPUs and MiB of the worker of a node; empty: it is not up."""
    try:
        with open(os.path.join(state, "registered.%d" % rank)) as file:
            line = file.readline()
    except OSError:
        return []
    return line.split() if line.endswith("\n") else []


def names_of_step(state: str) -> str:
    """Return the nodes of the daemons' step, if it runs: the job may have more."""
    try:
        with open(os.path.join(state, "step")) as file:
            return file.readline().partition(" ")[2].strip()
    except OSError:
        return ""


def missing(found: List[List[str]], names: str) -> str:
    """Return the sentence that names the nodes without a worker."""
    known = [name for name in names.split(",") if name]
    absent = [rank for rank, words in enumerate(found) if not words]
    return "only %d of %d workers of the Spark cluster were up in time; missing: %s" % (
        len(found) - len(absent),
        len(found),
        ", ".join(known[rank] if rank < len(known) else "node %d" % rank for rank in absent),
    )


def figures_of(found: List[List[str]]) -> Dict[str, Any]:
    """Return what the cluster has, for the asset's metadata."""
    return {
        "spark_workers": len(found),
        "spark_nodes": len({words[0] for words in found}),
        "spark_cpus": sum(int(words[1]) for words in found),
        "spark_memory_gib": round(sum(int(words[2]) for words in found) / 1024, 2),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
