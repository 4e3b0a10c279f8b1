"""A terminal with somebody at it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import asdict
from types import TracebackType

from dagster_slurm.transport.ssh import SSHSettings

_LOGIN = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal is this session's
from dagster_slurm.errors import HostError
from dagster_slurm.transport.ssh import SSHSettings, login
try:
    login(SSHSettings(**{settings!r}), persist={persist})
except HostError as error:
    sys.exit("\\n" + str(error))
print("\\nlogged in")
"""


class Terminal:
    """``login()`` in a terminal of its own."""

    def __init__(self, settings: SSHSettings, persist: int = 60) -> None:
        code = _LOGIN.format(settings=asdict(settings), persist=persist)
        self._master, slave = pty.openpty()
        argv = [sys.executable, "-c", code]
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def expect(self, words: str) -> str:
        """Read until the words appear; return what came before."""
        end = time.monotonic() + 20
        while words not in self.text:
            readable, _, _ = select.select([self._master], [], [], max(0, end - time.monotonic()))
            assert readable, f"{words!r} does not appear in {self.text!r}"
            with contextlib.suppress(OSError):  # Linux says so when nobody is left at the other end
                self.text += os.read(self._master, 4096).decode()
                continue
            assert words in self.text, self.text
        before, _, self.text = self.text.partition(words)
        return before

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")
