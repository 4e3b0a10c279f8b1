"""Pipes messages, taken as they come: a reader without a thread of its own, fed by whoever follows the run."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from dagster._core.pipes.client import PipesMessageReader
from dagster._core.pipes.context import PipesMessageHandler
from dagster_pipes import PipesDefaultMessageWriter, PipesParams

#: what a payload reports counts once it has ended: a job that is started again reports anew
_LIVE = frozenset({"opened", "log", "log_external_stream"})
_EXCERPT = 200


class RunMessageReader(PipesMessageReader):
    """Hands messages on: logs at once, results when it is known which start of the job was the last.

    Args:
        path: where the payload writes its messages, on the target.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._handler: PipesMessageHandler | None = None
        self._rest: dict[int, bytes] = {}
        self._held: dict[int, list[dict[str, Any]]] = {}
        self._damaged = 0

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Generator[PipesParams]:
        """Yield what the payload needs to know; messages come through :meth:`feed`."""
        self._handler = handler
        try:
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: self._path}
        finally:
            self._handler = None

    @property
    def expected_writer_count(self) -> int:
        """One payload speaks."""
        return 1

    def no_messages_debug_text(self) -> str:
        """Say why there may be no messages."""
        return (
            f"Expected messages in {self._path}. A payload that never calls open_dagster_pipes() writes none, and that "
            "is fine."
        )

    def feed(self, restart: int, data: bytes) -> None:
        """Take new bytes of the messages of one start of the job."""
        lines = (self._rest.pop(restart, b"") + data).split(b"\n")
        self._rest[restart] = lines.pop()
        for line in lines:
            if line.strip():
                self._take(restart, line)

    def finish(self, restart: int) -> dict[str, Any] | None:
        """Hand on the results of the last start; return the exception that the payload reported, if any."""
        rest = self._rest.pop(restart, b"")
        if rest.strip():
            self._take(restart, rest)
        held = self._held.pop(restart, [])
        for message in held:
            self._hand_on(message)
        closed = [message for message in held if message["method"] == "closed"]
        params = cast("dict[str, Any]", closed[-1]["params"] or {}) if closed else {}
        return params.get("exception")

    def _take(self, restart: int, line: bytes) -> None:
        try:
            message: Any = json.loads(line.decode("utf-8"))
            method = message["method"]
        except (ValueError, KeyError, TypeError):
            self._warn(f"a line of {self._path} is no Pipes message and was left out: {line[:_EXCERPT]!r}")
            return
        if method in _LIVE:
            self._hand_on(message)
        else:
            self._held.setdefault(restart, []).append(message)

    def _hand_on(self, message: dict[str, Any]) -> None:
        assert self._handler is not None, "messages arrive within the session"  # noqa: S101 - ours to keep
        try:
            self._handler.handle_message(cast("Any", message))
        except Exception as error:  # noqa: BLE001 - one odd message (any kind of error) must not lose those after it
            self._warn(f"a Pipes message was left out, since Dagster refuses it: {error}: {str(message)[:_EXCERPT]}")

    def _warn(self, text: str) -> None:
        self._damaged += 1
        if self._handler is not None:
            self._handler._context.log.warning(text)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class Echo:
    """Standard output and error of the payload, on those of the step: Dagster's compute logs take them from there."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: decoder("replace") for stream in ("stdout", "stderr")}
        self._ends_whole = {"stdout": True, "stderr": True}
        self._last = {"stdout": "", "stderr": ""}

    def write(self, stream: str, data: bytes) -> None:
        """Write bytes; a character cut in two is put together, what is no UTF-8 is replaced."""
        self._put(stream, self._decoders[stream].decode(data))

    def finish(self) -> None:
        """End a last line that has no end, so that what others write begins on a line of its own."""
        for stream, decoder in self._decoders.items():
            self._put(stream, decoder.decode(b"", final=True))
            if not self._ends_whole[stream]:
                self._put(stream, "\n")

    def tail(self, stream: str) -> str:
        """Return the last lines that were written."""
        return self._last[stream]

    def _put(self, stream: str, text: str) -> None:
        if text:
            target = sys.stdout if stream == "stdout" else sys.stderr
            target.write(text)
            target.flush()
            self._ends_whole[stream] = text.endswith("\n")
            self._last[stream] = (self._last[stream] + text)[-_TAIL:]


_TAIL = 4000
