"""Pipes messages, taken as they come: a reader without a thread of its own, fed by whoever follows the run."""

from __future__ import annotations

import json
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
        self._succeeded = False

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Generator[PipesParams]:
        """Yield what the payload needs to know; messages come through :meth:`feed`."""
        self._handler = handler
        try:
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: self._path}
        finally:
            self._excuse(handler)
            self._handler = None

    @property
    def expected_writer_count(self) -> int:
        """One payload speaks."""
        return 1

    def no_messages_debug_text(self) -> str:
        """Say where messages would be."""
        return f"Messages are expected in {self._path}."

    def feed(self, restart: int, data: bytes) -> None:
        """Take new bytes of the messages of one start of the job."""
        lines = (self._rest.pop(restart, b"") + data).split(b"\n")
        self._rest[restart] = lines.pop()
        for line in lines:
            if line.strip():
                self._take(restart, line)

    def finish(self, restart: int, *, success: bool) -> dict[str, Any] | None:
        """Hand on the results of the last start; return the exception that the payload reported, if any."""
        self._succeeded = success
        rest = self._rest.pop(restart, b"")
        if rest.strip():
            self._take(restart, rest)
        held = self._held.pop(restart, [])
        for message in held:
            if message["method"] != "closed":
                self._hand_on(message)
        # several processes of one job may open and close Pipes; after the first "closed" Dagster expects nothing more
        closed = [message for message in held if message["method"] == "closed"]
        closed.sort(key=lambda message: _exception(message.get("params")) is not None)
        for message in closed[-1:]:
            self._hand_on(message)
        return _exception(closed[-1].get("params")) if closed else None

    def _excuse(self, handler: PipesMessageHandler) -> None:
        """Keep Dagster from warning where nothing is amiss.

        A payload that never opens Pipes is fine. One that did not close them is worth a warning if it succeeded; if it
        failed, that is told in full, and if it goes on without us, it may still close them.
        """
        if not (handler.received_opened_message and self._succeeded):
            handler._opened_count = handler._closed_count = 1  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def _take(self, restart: int, line: bytes) -> None:
        try:
            message: Any = json.loads(line.decode("utf-8"))
            live = message["method"] in _LIVE
        except (ValueError, KeyError, TypeError):
            self._warn(f"a line of {self._path} is no Pipes message and was left out: {line[:_EXCERPT]!r}")
            return
        if live:
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
        if self._handler is not None:
            self._handler._context.log.warning(text)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _exception(params: Any) -> dict[str, Any] | None:
    exception: Any = cast("dict[str, Any]", params).get("exception") if isinstance(params, dict) else None
    return cast("dict[str, Any]", exception) if isinstance(exception, dict) else None
