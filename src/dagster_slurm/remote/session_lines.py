"""Requests to a session: lines with a checksum in a file that the login node appends to and the allocation reads.

A line that is torn or lost does not count; whoever wrote it repeats it until the answer stands in the unit's record.
"""

import json
import os
import zlib
from typing import Any, Dict, List, Tuple

from . import rundir
from .refused import Refused

REQUESTS, LEASES = "requests", "leases"
#: the request after which no other counts: the session has said that it takes no more work
CLOSED = "closed"
Item = Dict[str, Any]
_LOCK_WAIT = 60.0


def encode(item: Item) -> bytes:
    """Return a line; the line break before it ends one that somebody could not finish."""
    text = json.dumps(item, sort_keys=True).encode()
    return b"\n%08x %s\n" % (zlib.crc32(text) & 0xFFFFFFFF, text)


def decode(data: bytes) -> Tuple[List[Item], bytes]:
    """Return the whole lines of some bytes, and what is left of them."""
    lines = data.split(b"\n")
    rest = lines.pop()
    items: List[Item] = []
    for line in lines:
        checksum, _, text = line.partition(b" ")
        try:
            if text and int(checksum, 16) == zlib.crc32(text) & 0xFFFFFFFF:
                items.append(json.loads(text.decode()))
        except ValueError:
            continue  # torn, or two that were written at once
    return items, rest


def append(path: str, data: bytes) -> None:
    """Append to a file that is there, in one write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def closed(path: str) -> str:
    """Return why a session takes no more work; nothing as long as it does."""
    with open(path, "rb") as file:
        items, _ = decode(file.read())
    return next((str(item["why"]) for item in items if item.get("op") == CLOSED), "")


def tell(session: str, item: Dict[str, Any]) -> None:
    """Append a request to those of a session; one at a time, so that none comes after the session's last word."""
    path = os.path.join(session, REQUESTS)
    with rundir.lock(path + ".lock", _LOCK_WAIT):
        why = closed(path)
        if why:
            raise Refused("session over", why, path=session)
        append(path, encode(item))
