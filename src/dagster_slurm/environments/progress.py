"""How far it is: sparse lines for a log, and on a terminal a bar as well."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from dagster_slurm.environments.environment import Tell

if TYPE_CHECKING:
    import rich.progress

#: seconds between two lines
_EVERY = 10.0
#: the same for what has no measure
_STILL = 30.0


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


@contextmanager
def busy(tell: Tell, text: str) -> Generator[None]:
    """Show that something goes on of which nobody knows how long it takes.

    Args:
        tell: takes a line now and then.
        text: what it is, without a full stop.
    """
    ended, begun = threading.Event(), time.monotonic()

    def beat() -> None:
        while not ended.wait(_STILL):
            tell(f"{text}: {time.monotonic() - begun:.0f} s so far.")

    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty():
            stack.enter_context(_spinner()).add_task(text, total=None)
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)
        yield


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


def _spinner() -> rich.progress.Progress:
    import rich.console  # noqa: PLC0415 - see above
    import rich.progress  # noqa: PLC0415

    return rich.progress.Progress(
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.TimeElapsedColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
    )


def megabytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
