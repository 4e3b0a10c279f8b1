"""A small agent, and talking to it."""

from __future__ import annotations

import os
import select
import threading
from typing import Any

from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.process import ProcessStream

_PROGRAM = """
import os, sys, time

def main(options, tty):
    os.write(2, options.get("complaint", "").encode())
    if "exit" in options:
        os._exit(options["exit"])
    os.write(1, b"ready\\n")
    if options.get("stubborn"):
        time.sleep(1000)
    while True:
        data = os.read(0, 1 << 16)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
"""

PATIENCE = 20.0


class Peer:
    """The other side of a stream, once it echoes what it is sent."""

    def __init__(self, stream: ProcessStream, **options: Any) -> None:
        self.stream = stream
        self.banner = self.read_until(bootstrap.SENTINEL)
        self.write(bootstrap.program([("echo", _PROGRAM)], options))
        if "exit" not in options:
            self.read_until(b"ready\n")

    def read_some(self) -> bytes:
        readable, _, _ = select.select([self.stream.read_fd()], [], [], PATIENCE)
        assert readable, "silence"
        return os.read(self.stream.read_fd(), 1 << 18)

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            part = self.read_some()
            assert part, self.stream.failure()
            data += part
        return data.partition(end)[0]

    def read_all(self) -> bytes:
        data = b""
        while part := self.read_some():
            data += part
        return data

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.stream.write_fd(), view) :]

    def echo(self, data: bytes) -> bytes:
        """Send and receive at once, as a pipe holds little."""
        thread = threading.Thread(target=self.write, args=(data,))
        thread.start()
        received = bytearray()
        while len(received) < len(data):
            part = self.read_some()
            assert part, self.stream.failure()
            received += part
        thread.join()
        return bytes(received)
