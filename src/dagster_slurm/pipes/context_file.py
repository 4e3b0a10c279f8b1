"""The Pipes context as a file of the run directory."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

from dagster._core.pipes.client import PipesContextInjector
from dagster_pipes import PipesContextData, PipesDefaultContextLoader, PipesParams


class ContextFile(PipesContextInjector):
    """Keeps the context for the run directory: it can be large, so it is no variable.

    Args:
        path: where it will lie.

    Attributes:
        content: the context, once the session is open.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.content = b""

    @contextmanager
    def inject_context(self, context_data: PipesContextData) -> Generator[PipesParams]:
        """Keep the context, and yield where the payload finds it."""
        self.content = json.dumps(context_data).encode()
        yield {PipesDefaultContextLoader.FILE_PATH_KEY: self._path}

    def no_messages_debug_text(self) -> str:
        """Say where it lies."""
        return f"The context lies in {self._path}."
