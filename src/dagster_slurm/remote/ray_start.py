"""``ray start`` on one node, in the payload's environment: ``ray_start.py ADDRESS-FILE OPTIONS...``.

A node that joins imports Ray while the head still starts, then waits for the first line of ADDRESS-FILE, which names
the head: on slow file systems that saves much of its time. The head itself (``--head`` among OPTIONS) does not wait.
"""

import importlib
import importlib.util
import sys
import time
from typing import List

_PAUSE = 0.05
_CLIENT = "--ray-client-server-port"


def main(words: List[str]) -> None:
    """Start it; returns when Ray does."""
    file, options = words[0], words[1:]
    client = _client_port(options)
    # our other programs, beside this one, are none of Ray's business
    del sys.path[0]
    start = importlib.import_module("ray.scripts.scripts").main
    if "--head" in options:
        options += client
    else:
        options.append("--address=" + head_address(file))
    sys.argv = ["ray", "start", *options]
    start()


def _client_port(options: List[str]) -> List[str]:
    """Return a free port for Ray's client, which would take 10001 where it is installed."""
    if any(word.startswith(_CLIENT) for word in options) or importlib.util.find_spec("grpc") is None:
        return []
    return ["%s=%d" % (_CLIENT, importlib.import_module("node_address").free_port())]


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
