"""A tunnel to the dashboard of a running job: a port of this machine, and behind it a way through the login node."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from dataclasses import dataclass
from typing import Any

from dagster_slurm.engine.channel import Channel, agent_modules
from dagster_slurm.errors import HostError, RequestFailed
from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.stream import Transport

_RELAY = ("frames", "relay")
_WAY = ("frames", "commands", "relay", "way")
#: Slurm may take its time to start a step, seconds
_OPENING = 90.0
_CHUNK = 65536


@dataclass(frozen=True)
class Dashboard:
    """Where a dashboard listens, and the token that it asks for (empty: none)."""

    node: str
    host: str
    port: int
    token: str


class Tunnel:
    """Connections to a port of ours arrive at the dashboard of a job.

    Args:
        transport: the way to the login node.
        job: the id of a running job, or a run directory there.
        port: ours, on loopback; 0 takes a free one.

    Raises:
        HostError: the login node cannot be reached.
        RequestFailed: there is no such job, or no dashboard, or no way to it.
        OSError: the port is not free.
    """

    def __init__(self, transport: Transport, job: str, port: int = 0) -> None:
        self._name = transport.name
        self._sockets: dict[int, socket.socket] = {}
        self._numbers = itertools.count(1)
        self._ready = threading.Event()
        self._found: dict[str, Any] = {}
        self._trouble = ""
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        program = bootstrap.program(agent_modules(_RELAY), {}).decode()
        options = {"job": job, "program": program, "argv": bootstrap.argv(), "shell": bootstrap.shell_command()}
        try:
            self._channel = Channel(transport, options, self._take, self._end, _WAY)
        except BaseException:  # also an interrupt: nothing may stay open
            self._listener.close()
            raise
        self._wait()

    def _wait(self) -> None:
        if not self._ready.wait(_OPENING):
            self._trouble = f"nothing was heard for {_OPENING:.0f} s"
        if self._trouble:
            self.close()
            raise RequestFailed(f"no tunnel through {self._name}: {self._trouble}")

    @property
    def dashboard(self) -> Dashboard:
        """Where it leads."""
        found = self._found
        return Dashboard(str(found["node"]), str(found["host"]), int(found["port"]), str(found["token"]))

    def serve(self) -> str:
        """Take connections until the way ends; return why it did."""
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return self._trouble
            number = next(self._numbers)
            self._sockets[number] = accepted
            threading.Thread(target=self._to_there, args=(number, accepted), daemon=True).start()

    def close(self) -> None:
        """End it."""
        # closing alone would leave the thread that waits for connections asleep
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._channel.close()
        for number in list(self._sockets):
            self._drop(number)

    def _to_there(self, number: int, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError, HostError):
            while data := accepted.recv(_CHUNK):
                self._channel.send({"c": number}, data)
        with contextlib.suppress(HostError):
            self._channel.send({"c": number})
        self._drop(number)

    def _take(self, head: dict[str, Any], body: bytes) -> None:
        if "c" in head:
            self._to_here(int(head["c"]), body)
        elif "ready" in head:
            self._ready.set()
        elif "fault" in head:
            self._trouble = str(head["fault"])
            self._ready.set()
        else:
            self._found = head

    def _to_here(self, number: int, body: bytes) -> None:
        found = self._sockets.get(number)
        if found is None:
            return
        try:
            if body:
                found.sendall(body)
                return
        except OSError:
            pass  # whoever asked is gone
        self._drop(number)

    def _drop(self, number: int) -> None:
        found = self._sockets.pop(number, None)
        if found is not None:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
            found.close()

    def _end(self, _channel: Channel, error: HostError) -> None:
        self._trouble = self._trouble or ("the job ended" if self._ready.is_set() else str(error))
        self._ready.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
