"""A child process as a stream: what the local and the SSH transport have in common."""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import subprocess
import tempfile
import termios
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import IO

from dagster_slurm.errors import HostError

#: how much of the end of standard error is looked at, in bytes
STDERR_TAIL = 16_384

#: seconds for which a process that is to end by itself can still say something
_READER_GRACE = 0.5
#: seconds between asking a process to end (TERM) and ending it (KILL)
_TERM_GRACE = 1.0


class Beginning(Enum):
    """How a stream began."""

    OUTPUT = "output"
    END = "end"
    SILENCE = "silence"


class ProcessStream:
    """A process in a session of its own (Ctrl-C in the terminal does not reach it), its stdin and stdout as pipes.

    Args:
        argv: the process; started without a shell.
        explain: (exit code or None, end of standard error) -> what went wrong.
        tty: the other side is a terminal.
        grace: seconds that the process gets to end by itself once its input is closed.
        env: its environment; ours if None.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        explain: Callable[[int | None, str], HostError],
        tty: bool = False,
        grace: float = 2.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.tty = tty
        self._explain = explain
        self._grace = grace
        self._closing = threading.Lock()
        self._closed = False
        # A file, not a pipe: nobody needs to drain it, and it cannot block the process.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the stream
        child_in, self._write = os.pipe()
        self._read, child_out = os.pipe()
        # The numbers stay ours until nobody can use them any more: see close().
        self._finalizer = weakref.finalize(self, _close_all, self._read, self._write, self._stderr)
        # streams are closed in good order by an exit handler; their numbers must stay until then
        self._finalizer.atexit = False
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=child_in,
                stdout=child_out,
                stderr=self._stderr,
                env=env,
                start_new_session=True,
            )
        except BaseException:  # also an interrupt: nothing may stay open
            self._finalizer()
            raise
        finally:
            os.close(child_in)
            os.close(child_out)

    def read_fd(self) -> int:
        """Return the descriptor of the process's standard output."""
        return self._read

    def write_fd(self) -> int:
        """Return the descriptor of the process's standard input."""
        return self._write

    def beginning(self, timeout: float) -> Beginning:
        """Wait up to ``timeout`` seconds for the first output or its end; nothing is read."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            if not selector.select(timeout):
                return Beginning.SILENCE
        pending: int = struct.unpack("i", fcntl.ioctl(self._read, termios.FIONREAD, b"\0" * 4))[0]
        return Beginning.OUTPUT if pending else Beginning.END

    def close(self) -> None:
        """Close the process's input, wait for its end, and make it end if it does not. Never leaves it behind.

        Another thread may be reading or writing meanwhile. Closing a descriptor under its feet would let it read from
        whatever gets the same number next; so the numbers are only pointed at something dead here (reads end, writes
        raise BrokenPipeError) and given back when the stream is forgotten.
        """
        with self._closing:
            if self._closed:
                return
            try:
                _hang_up(self._write)
                if not self._wait(min(self._grace, _READER_GRACE)):
                    self._stop_reading()  # it may wait for us to take what it says
                    self._wait(max(self._grace - _READER_GRACE, 0))
            finally:
                self._end()
                self._closed = True

    def failure(self) -> HostError:
        """Say why the stream ended or never started. Only after end of file."""
        if not self._wait(self._grace):
            self._end()
        return self._explain(self._process.poll(), self._stderr_tail())

    def _wait(self, timeout: float) -> bool:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            if not self._wait(_TERM_GRACE):
                self._process.kill()
                self._process.wait()
        self._stop_reading()

    def _stop_reading(self) -> None:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # only its descriptor matters
            os.dup2(nothing.fileno(), self._read, inheritable=False)

    def _stderr_tail(self) -> str:
        size = os.fstat(self._stderr.fileno()).st_size
        data = os.pread(self._stderr.fileno(), STDERR_TAIL, max(0, size - STDERR_TAIL))
        return data.decode(errors="replace").replace("\r", "")


def _hang_up(descriptor: int) -> None:
    """Let writes to ``descriptor`` fail from now on, and give up the pipe that it led to."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.dup2(write_end, descriptor, inheritable=False)
    os.close(write_end)


def _close_all(read_fd: int, write_fd: int, stderr: IO[bytes]) -> None:
    os.close(read_fd)
    os.close(write_fd)
    stderr.close()
