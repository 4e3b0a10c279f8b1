"""``ray start`` on one node, in the payload's environment: ``ray_start.py ADDRESS-FILE OPTIONS...``.

A node that joins imports Ray while the head still starts, then waits for the first line of ADDRESS-FILE, which names
the head: on slow file systems that saves much of its time. The head itself (``--head`` among OPTIONS) does not wait.
"""

import importlib
import importlib.util
import os
import sys
import time
from typing import Any, List

_PAUSE = 0.05
_CLIENT = "--ray-client-server-port"


def main(words: List[str]) -> None:
    """Start it; returns when Ray does."""
    file, options = words[0], words[1:]
    free_port = _from_beside("node_address").free_port
    start = importlib.import_module("ray.scripts.scripts").main
    if "--head" not in options:
        options.append("--address=" + head_address(file))
    # Ray would give its client 10001, where it is installed
    elif not any(word.startswith(_CLIENT) for word in options) and importlib.util.find_spec("grpc"):
        options.append("%s=%d" % (_CLIENT, free_port()))
    sys.argv = ["ray", "start", *options]
    start()


def _from_beside(name: str) -> Any:
    """Return another program of ours; for Ray and all that it starts, they are not on the path."""
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = [place for place in sys.path if os.path.realpath(place) != here]


def head_address(file: str) -> str:
    """Wait for it; whoever started this program ends it when there is nothing to wait for any more."""
    while True:
        # opened anew each time: NFS shows new bytes only then
        with open(file) as lines:
            line = lines.readline()
        if line.endswith("\n"):
            return line.strip()
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main(sys.argv[1:])
