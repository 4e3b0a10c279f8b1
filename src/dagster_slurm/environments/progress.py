"""How far it is: a bar on a terminal, else sparse lines for a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from dagster_slurm.environments.environment import Tell

if TYPE_CHECKING:
    import rich.progress

#: seconds between two lines
_EVERY = 10.0


class Progress:
    """Counts what is sent, and shows it while it is entered as a context.

    Args:
        tell: takes the lines.
        packages: how many there are to send.
        size: their bytes, as far as they are known.
    """

    def __init__(self, tell: Tell, packages: int, size: int) -> None:
        self._tell = tell
        self._packages = packages
        self._size = size
        self._sent = self._done = 0
        self._begun = self._told = time.monotonic()
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = None if self._bar is None else self._bar.add_task("Sending packages", total=size)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def sent(self, count: int) -> None:
        """Count bytes."""
        self._sent += count
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._sent)
            return
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            self._tell(
                f"Sent {megabytes(self._sent)} of {megabytes(self._size)}, {self._done} of {self._packages} packages, "
                f"{megabytes(int(self._sent / (now - self._begun)))}/s."
            )

    def done(self) -> None:
        """Count a package."""
        self._done += 1


def _bar() -> rich.progress.Progress:
    import rich.console  # noqa: PLC0415 - most processes never show a bar, and rich takes its time
    import rich.progress  # noqa: PLC0415

    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
    )


def megabytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
