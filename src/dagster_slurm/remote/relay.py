"""Carries connections to one place: each has a number, a frame brings some of its bytes, and one without bytes ends it.

Runs on a compute node, or on the login node if the place can be reached from there. The first frame names the place.
"""

import os
import selectors
import socket
import sys
from typing import Any, Dict

from . import frames

_CHUNK = 65536
_CONNECT_TIMEOUT = 10.0


class Relay:
    """The connections of one channel, which is our standard input and output."""

    def __init__(self, host: str, port: int, tty: bool) -> None:
        self._place = (host, port)
        self._tty = tty
        self._sockets: Dict[int, socket.socket] = {}
        self._watched = selectors.DefaultSelector()

    def run(self, decoder: frames.Decoder) -> None:
        """Serve until the input ends."""
        self.emit({"ready": True})
        self._watched.register(0, selectors.EVENT_READ, 0)
        while True:
            for key, _ in self._watched.select():
                if key.data:
                    self._from_place(key.data)
                    continue
                data = os.read(0, _CHUNK)
                if not data:
                    return
                for head, body in decoder.feed(data):
                    self.take(head, body)

    def take(self, head: Dict[str, Any], body: bytes) -> None:
        """Hand bytes to a connection, made if its number is new."""
        number = int(head["c"])
        try:
            if not body:
                self._end(number)
                return
            if number not in self._sockets:
                self._sockets[number] = socket.create_connection(self._place, _CONNECT_TIMEOUT)
                self._sockets[number].settimeout(None)
                self._watched.register(self._sockets[number], selectors.EVENT_READ, number)
            self._sockets[number].sendall(body)
        except OSError:
            self._end(number)
            self.emit({"c": number})

    def _from_place(self, number: int) -> None:
        try:
            data = self._sockets[number].recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._end(number)
        self.emit({"c": number}, data)

    def _end(self, number: int) -> None:
        found = self._sockets.pop(number, None)
        if found is not None:
            self._watched.unregister(found)
            found.close()

    def emit(self, head: Dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        write(1, frames.encode(head, body, self._tty))


def write(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def main(options: Dict[str, Any], tty: bool) -> None:  # noqa: ARG001 - every program is called so
    """Read where to, and serve."""
    decoder = frames.Decoder(tty)
    while True:
        data = os.read(0, _CHUNK)
        if not data:
            sys.exit(0)
        for head, _ in decoder.feed(data):
            Relay(str(head["host"]), int(head["port"]), tty).run(decoder)
            sys.exit(0)
