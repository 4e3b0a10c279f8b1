"""Waits until all nodes of a Ray cluster are up, by the node table of its head, and prints figures as JSON.

Runs in the payload's environment. Ends with 75 and one line that says what is missing.
"""

import argparse
import importlib
import json
import os
import platform
import socket
import sys
import time
from typing import Any, Dict, List, Tuple

_PAUSE = 0.1
_NOT_READY = 75


class NotReady(Exception):
    """What is missing, in one line."""


def main(words: List[str]) -> int:
    """Wait, and print."""
    parser = argparse.ArgumentParser()
    for name in ("state", "nodes", "names", "timeout", "existing", "begun"):
        parser.add_argument("--" + name, default="")
    asked = parser.parse_args(words)
    deadline = time.monotonic() + float(asked.timeout)
    try:
        ray = importlib.import_module("ray")
        address = asked.existing or _address(asked.state, deadline)
        _connects(address, deadline)
        state = _global_state(address)
        if asked.existing:
            _check_versions(address, ray.__version__, deadline)
        nodes = _nodes(state, asked, deadline)
    except NotReady as error:
        sys.stderr.write("%s\n" % error)
        return _NOT_READY
    found = dict(figures(ray.__version__, nodes), ray_ready_seconds=round(time.time() - float(asked.begun), 1))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _address(state: str, deadline: float) -> str:
    while time.monotonic() < deadline:
        with open(os.path.join(state, "address")) as file:
            line = file.readline()
        if line.endswith("\n"):
            return line.strip()
        time.sleep(_PAUSE)
    raise NotReady("Ray's head was not up in time: head_startup_timeout is over")


def _connects(address: str, deadline: float) -> None:
    """Wait until somebody takes connections there: Ray itself would try for a minute, whatever the deadline."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), 5).close()
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise NotReady("no Ray cluster answers at %s: %s" % (address, error)) from None
            time.sleep(_PAUSE)
        else:
            return


def _global_state(address: str) -> Any:
    options = importlib.import_module("ray._raylet").GcsClientOptions
    state = importlib.import_module("ray._private.state").GlobalState()
    state._initialize_global_state(  # noqa: SLF001 - Ray has no other way without a driver
        options.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    )
    return state


def _check_versions(address: str, version: str, deadline: float) -> None:
    """Ray itself would say it in the payload, at length."""
    while True:
        try:
            client = importlib.import_module("ray._raylet").GcsClient(address=address)
            found = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=2)
        except Exception as error:  # noqa: BLE001 - of many kinds, Ray's own
            if time.monotonic() > deadline:
                raise NotReady("no Ray cluster answers at %s: %s" % (address, str(error).split("\n")[0])) from None
            time.sleep(_PAUSE)
            continue
        break
    ours = {"ray_version": version, "python_version": platform.python_version()}
    sentence = difference(address, json.loads(found) if found else {}, ours)
    if sentence:
        raise NotReady(sentence)


def difference(address: str, theirs: Dict[str, str], ours: Dict[str, str]) -> str:
    """Return what is to be said if a cluster has other versions; what it does not tell is taken as equal."""
    theirs = {name: theirs.get(name, ours[name]) for name in ours}
    if theirs == ours:
        return ""
    return (
        "the cluster at %s runs Ray %s and Python %s, the payload's environment has Ray %s and Python %s: "
        "use the same versions in both"
        % (address, theirs["ray_version"], theirs["python_version"], ours["ray_version"], ours["python_version"])
    )


def _nodes(state: Any, asked: Any, deadline: float) -> List[Dict[str, Any]]:
    wanted = 1 if asked.existing else int(asked.nodes)
    while True:
        try:
            alive: List[Dict[str, Any]] = [node for node in state.node_table() if node["Alive"]]
        except Exception:  # noqa: BLE001 - the head does not answer yet
            alive = []
        if len(alive) >= wanted:
            return alive
        if time.monotonic() > deadline:
            raise NotReady(missing(wanted, names_of_step(asked.state) or asked.names, alive))
        time.sleep(_PAUSE)


def names_of_step(state: str) -> str:
    """Return the nodes of the daemons' step, if it runs: the job may have more."""
    try:
        with open(os.path.join(state, "step")) as file:
            return file.readline().partition(" ")[2].strip()
    except OSError:
        return ""


def missing(wanted: int, names: str, alive: List[Dict[str, Any]]) -> str:
    """Return the sentence that names the nodes that are not up."""
    known = [str(node.get("NodeName")) for node in alive]
    absent = [name for name in names.split(",") if name and name not in known]
    return "only %d of %d nodes of the Ray cluster were up in time; missing: %s" % (
        len(alive),
        wanted,
        ", ".join(absent) or "unknown",
    )


def figures(version: str, nodes: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Return what the cluster has, for the asset's metadata."""
    sums: Tuple[float, ...] = tuple(
        sum(float(node.get("Resources", {}).get(name, 0)) for node in nodes)
        for name in ("CPU", "GPU", "memory", "object_store_memory")
    )
    return {
        "ray_version": version,
        "ray_nodes": len(nodes),
        "ray_cpus": int(sums[0]),
        "ray_gpus": int(sums[1]),
        "ray_memory_gib": round((sums[2] + sums[3]) / 2**30, 2),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
