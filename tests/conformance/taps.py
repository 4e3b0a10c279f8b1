"""A transport with a tap: what goes over it is seen frame by frame, and may be held up, lost or cut.

The chaos and the kills of this suite are taps.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from dagster_slurm.errors import CannotConnect, HostError
from dagster_slurm.remote import frames
from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.stream import Stream, Transport

Head = dict[str, Any]


class Cut(Exception):
    """The connection breaks here; what is in ``first`` still gets through."""

    def __init__(self, first: bytes = b"") -> None:
        super().__init__("cut")
        self.first = first


class Tap:
    """Sees frames on their way. Returns the bytes to pass on, or raises :class:`Cut`. This one does nothing."""

    def begin(self) -> None:
        """Before a stream is opened; may raise a HostError."""

    def up(self, _head: Head, data: bytes) -> bytes:
        """A frame to the agent."""
        return data

    def down(self, _head: Head, data: bytes) -> bytes:
        """A frame from the agent."""
        return data

    def after_up(self, head: Head) -> None:
        """A frame has been handed on to the agent."""

    def after_down(self, head: Head) -> None:
        """A frame has been handed on to us."""


class Tapped:
    """A transport over which a tap looks."""

    def __init__(self, inner: Transport, tap: Tap) -> None:
        self._inner = inner
        self._tap = tap
        self.name = inner.name
        self.key = f"tapped {inner.key}"

    def open(self) -> TappedStream:
        self._tap.begin()
        return TappedStream(self._inner.open(), self._tap)


class TappedStream:
    """A stream through two threads that hand frames on."""

    def __init__(self, inner: Stream, tap: Tap) -> None:
        self.tty = False
        self._inner = inner
        self._tap = tap
        self._cut = False
        self._closing = threading.Lock()
        self._closed = False
        self._read, self._down = os.pipe()
        self._up, self._write = os.pipe()
        self._threads = [
            threading.Thread(target=self._pump_up, daemon=True),
            threading.Thread(target=self._pump_down, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def read_fd(self) -> int:
        return self._read

    def write_fd(self) -> int:
        return self._write

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
            _replace(self._write)  # the pump sees the end of what we send
            self._inner.close()

    def failure(self) -> HostError:
        if self._cut:
            return CannotConnect(f"the connection to {self._inner!r} was cut by the test")
        return self._inner.failure()

    def __del__(self) -> None:
        for number in (self._read, self._write):
            os.close(number)

    def _pump_up(self) -> None:
        """The program comes first: a line with its length, and that many bytes; then frames."""
        inner = self._inner.write_fd()
        try:
            head = b""
            while not head.endswith(b"\n"):
                head += _some(self._up, 1)
            _put(inner, head)
            left = int(head)
            while left:
                data = _some(self._up, min(left, 65536))
                left -= len(data)
                _put(inner, data)
            self._pass_on(self._up, b"", inner, self._tap.up, self._tap.after_up)
        except (OSError, EOFError):
            pass
        finally:
            os.close(self._up)
            self._end_inner()

    def _pump_down(self) -> None:
        inner = self._inner.read_fd()
        try:
            seen = b""
            while bootstrap.SENTINEL + b"\n" not in seen:
                seen += _some(inner, 65536)
            begin, rest = seen.split(bootstrap.SENTINEL + b"\n", 1)
            _put(self._down, begin + bootstrap.SENTINEL + b"\n")
            self._pass_on(inner, rest, self._down, self._tap.down, self._tap.after_down)
        except (OSError, EOFError):
            pass
        finally:
            os.close(self._down)

    def _pass_on(
        self,
        source: int,
        data: bytes,
        target: int,
        look: Callable[[Head, bytes], bytes],
        after: Callable[[Head], None],
    ) -> None:
        decoder = frames.Decoder()
        try:
            while True:
                for head, body in decoder.feed(data):
                    _put(target, look(head, frames.encode(head, body)))
                    after(head)
                data = _some(source, 1 << 18)
        except Cut as cut:
            self._cut = True
            _put(target, cut.first)
            self._end_inner()

    def _end_inner(self) -> None:
        threading.Thread(target=self._inner.close, daemon=True).start()


def _some(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    if not data:
        raise EOFError
    return data


def _put(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _replace(descriptor: int) -> None:
    """Let writes fail from now on; the number stays taken."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.dup2(write_end, descriptor, inheritable=False)
    os.close(write_end)


# --- kills

#: when a process ends itself by SIGKILL
POINTS = (
    "before the submit is sent",
    "after the submit is sent",
    "after the reply",
    "in mid-follow",
    "after the exit line",
)


#: the same where work is handed to a session, the allocation of which is submitted as well
UNIT_POINTS = tuple(f"{point}, of a unit" for point in POINTS[:3])


class _Kill(Tap):
    def __init__(self, point: str) -> None:
        assert point in (*POINTS, *UNIT_POINTS)
        self._kind = "step" if point in UNIT_POINTS else None
        self._point = point.partition(",")[0]
        self._submit: int | None = None

    def up(self, head: Head, data: bytes) -> bytes:
        if self._submits(head):
            self._submit = head["id"]
            self._at("before the submit is sent")
        return data

    def after_up(self, head: Head) -> None:
        if self._submits(head):
            self._at("after the submit is sent")

    def _submits(self, head: Head) -> bool:
        return head["op"] == "submit" and self._kind in (None, head["kind"])

    def after_down(self, head: Head) -> None:
        if self._submit is not None and head.get("re") == self._submit and "missing" not in head.get("ok", {}):
            self._at("after the reply")

    def down(self, head: Head, data: bytes) -> bytes:
        if head.get("ev") == "data":
            if head["file"].startswith("stdout"):
                self._at("in mid-follow")
            if head["file"] == "record.jsonl" and b'"exit"' in data:
                self._at("after the exit line")
        return data

    def _at(self, point: str) -> None:
        if point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


def killing_at(point: str) -> Tap:
    """A tap that ends this process, as a kill or a power cut would, at a named point."""
    return _Kill(point)
