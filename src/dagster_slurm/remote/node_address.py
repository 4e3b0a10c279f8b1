"""Prints the address under which other nodes reach this one, and a port that is free here, on one line.

``python3 node_address.py [--address] [--port] [--interface ib0] [--toward NODE]``
"""

import fcntl
import os
import random
import socket
import struct
import subprocess
import sys
from typing import Dict, List, Optional

_SIOCGIFADDR = 0x8915
#: below what the kernel gives to outgoing connections
_PORTS = range(20000, 32000)
_ANYWHERE = {socket.AF_INET: "10.255.255.255", socket.AF_INET6: "2001:db8::1"}


def of_interface(name: str) -> str:
    """Return the address of a network interface: IPv4, else IPv6."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", name.encode()[:15])
        try:
            return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24])
        except OSError:
            pass
    with open("/proc/net/if_inet6") as file:
        for line in file:
            fields = line.split()
            if fields[-1] == name and fields[3] in ("00", "40"):
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))
    raise OSError("the network interface %s has no address here" % name)


def _way_to(host: str, family: int) -> str:
    """Return our address on the way to a host; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


def toward(node: str) -> Optional[str]:
    """Return our address on the way to another node, if its name or Slurm's address of it can be resolved."""
    for name in (node, node_addr(node)):
        try:
            found = socket.getaddrinfo(name, 9, type=socket.SOCK_DGRAM) if name else []
            for family, _, _, _, place in found:
                return _way_to(str(place[0]), family)
        except OSError:
            continue
    return None


def node_addr(node: str) -> str:
    """Return what Slurm knows as a node's address; nodes need not be in the name service."""
    try:
        done = subprocess.run(["scontrol", "show", "node", "-o", node], stdout=subprocess.PIPE, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    words = done.stdout.decode("utf-8", "replace").split()
    return next((word.partition("=")[2] for word in words if word.startswith("NodeAddr=")), "")


def address(options: Dict[str, str]) -> str:
    """Return this node's address."""
    if options.get("--interface"):
        return of_interface(options["--interface"])
    found = toward(options["--toward"]) if options.get("--toward") else None
    if found is not None:
        return found
    for family, host in sorted(_ANYWHERE.items()):
        try:
            return _way_to(host, family)
        except OSError:
            continue
    return "127.0.0.1"


def free_port() -> int:
    """Return a port that nobody listens on here."""
    for port in random.Random(os.getpid() ^ int.from_bytes(os.urandom(4), "big")).sample(_PORTS, 200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between %d and %d" % (_PORTS[0], _PORTS[-1]))


def main(words: List[str]) -> int:
    """Print what is asked for."""
    options = {word: words[at + 1] if at + 1 < len(words) else "" for at, word in enumerate(words)}
    try:
        wanted = [address(options)] if "--address" in words else []
        wanted += [str(free_port())] if "--port" in words else []
    except OSError as error:
        sys.stderr.write("dagster-slurm: %s\n" % error)
        return 1
    sys.stdout.write(" ".join(wanted) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
