"""What every transport gives: a duplex byte stream to a freshly started bootstrap (see :mod:`.bootstrap`)."""

from __future__ import annotations

from typing import Protocol

from dagster_slurm.errors import HostError


class Stream(Protocol):
    """Standard input and output of the program on the other side."""

    #: the other side is a terminal: frames travel as lines of base64
    tty: bool

    def read_fd(self) -> int:
        """Return the descriptor that the other side's output is read from (blocking; end of file when it ends)."""
        ...

    def write_fd(self) -> int:
        """Return the descriptor that the other side's input is written to (blocking)."""
        ...

    def close(self) -> None:
        """End the other side by closing its input, and release everything. May be called twice, from any thread."""
        ...

    def failure(self) -> HostError:
        """Say why the stream ended or never started, from exit status and standard error. Only after end of file."""
        ...


class Transport(Protocol):
    """A way to start the bootstrap on a host."""

    #: identity: two transports with the same key reach the same account on the same host in the same way
    key: str

    #: what a user calls the place, for messages: ``user@host`` or ``this machine``
    name: str

    def open(self) -> Stream:
        """Start the bootstrap.

        Raises:
            HostError: one of its subclasses says why it cannot be started.
        """
        ...
