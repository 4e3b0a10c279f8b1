"""One open channel to an agent: the handshake, sending, and a thread that reads."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from dagster_slurm.errors import AgentUnavailable, CannotConnect, HostError
from dagster_slurm.remote import frames
from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.stream import Stream, Transport

#: the agent's modules in the order in which they import each other
_MODULES = tuple(
    "frames commands rundir store results cleaning pace follow queues direct "
    "long_lock refused sharing packages prelude pythons members making archived built build_jobs housekeeping "
    "environment_requests looking fetch_requests session_lines session_requests clusters cluster_requests "
    "requests agent".split()
)
#: how much a login shell may print before our program begins, in bytes, and how long all that may take, in seconds
_BANNER = 256 * 1024
_HANDSHAKE = 60.0

OnFrame = Callable[[dict[str, Any], bytes], None]
OnEnd = Callable[["Channel", HostError], None]


def agent_modules(names: Sequence[str] = _MODULES) -> list[tuple[str, str]]:
    """Return name and source of each of the agent's modules, or of those of another program."""
    folder = files("dagster_slurm.remote")
    return [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in names]


class Channel:
    """An agent that answers.

    Args:
        transport: how to start it.
        options: for the agent's ``main``.
        on_frame: called by the reading thread for each frame.
        on_end: called once by the reading thread, when the channel is of no more use.
        modules: the program, where it is not the agent.

    Raises:
        HostError: it cannot be started.
    """

    def __init__(
        self,
        transport: Transport,
        options: Mapping[str, object],
        on_frame: OnFrame,
        on_end: OnEnd,
        modules: Sequence[str] = _MODULES,
    ) -> None:
        self._name = transport.name
        self._on_frame = on_frame
        self._on_end = on_end
        self._sending = threading.Lock()
        self._closed = False
        self.opened = time.monotonic()
        self._stream: Stream = transport.open()
        try:
            rest = self._handshake(bootstrap.program(agent_modules(modules), options))
        except BaseException:  # also an interrupt: nothing may stay open
            self._stream.close()
            raise
        self._decoder = frames.Decoder(self._stream.tty)
        self._thread = threading.Thread(
            target=self._read, args=(rest,), name=f"dagster-slurm {self._name}", daemon=True
        )
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it is of no more use."""
        return self._closed

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Send one frame.

        Raises:
            CannotConnect: the channel has ended.
        """
        data = memoryview(frames.encode(dict(head), body, self._stream.tty))
        try:
            with self._sending:
                while data:
                    data = data[os.write(self._stream.write_fd(), data) :]
        except OSError as error:
            raise CannotConnect(f"the connection to {self._name} broke: {error.strerror}") from error

    def close(self) -> None:
        """End the agent. ``on_end`` is not called any more."""
        self._closed = True
        self._stream.close()

    def _handshake(self, code: bytes) -> bytes:
        """Wait for the bootstrap's sentinel, whatever a login shell prints before it, and send the program."""
        deadline = time.monotonic() + _HANDSHAKE
        seen = b""
        while bootstrap.SENTINEL not in seen:
            seen = seen[-_BANNER:] + self._read_some(deadline, seen)
        rest = seen.split(bootstrap.SENTINEL, 1)[1].lstrip(b"\r\n")
        program = memoryview(code)
        while program:
            program = program[os.write(self._stream.write_fd(), program) :]
        return rest

    def _read_some(self, deadline: float, seen: bytes) -> bytes:
        descriptor = self._stream.read_fd()
        readable, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            text = seen[-400:].decode("utf-8", "replace")
            raise AgentUnavailable(
                f"the agent on {self._name} did not start within {_HANDSHAKE:.0f} s",
                hint="Log in by hand and see what your shell's start-up files do; they may wait for input.",
                log_tail=text,
            )
        data = os.read(descriptor, 65536)
        if not data:
            raise self._stream.failure()
        return data

    def _read(self, data: bytes) -> None:
        try:
            while True:
                for head, body in self._decoder.feed(data):
                    self._on_frame(head, body)
                data = os.read(self._stream.read_fd(), 1 << 18)
                if not data:
                    break
            error = self._stream.failure() if not self._closed else CannotConnect("closed")
        except (OSError, frames.FrameError) as problem:
            error = CannotConnect(f"the connection to {self._name} broke: {problem}")
        if not self._closed:
            self._closed = True
            self._on_end(self, error)  # first: to end an agent that hangs takes a while
            self._stream.close()
