"""Tests that mostly wait: all of them begin when the session begins, each in a thread, and are judged at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import shared_cluster, special_cluster
from tests.conformance import rows
from tests.conformance.driver import Rig

_ATTRIBUTE = "act"
_ONE_AT_A_TIME = threading.Lock()


class Stage:
    """Where one test plays: makes rows that end with it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def enter(self, manager: AbstractContextManager[Any]) -> Any:
        """Something else that ends with it."""
        return self._stack.enter_context(manager)

    def row(self, kind: str) -> Rig:
        return self._stack.enter_context(
            rows.real(shared_cluster()) if kind == "real" else getattr(rows, kind)(self._folder)
        )

    def faked(self, **settings: Any) -> Rig:
        return self._stack.enter_context(rows.faked(self._folder, **settings))

    def special(self, **options: Any) -> Rig:
        """A real cluster of its own."""
        with _ONE_AT_A_TIME:
            cluster = self._stack.enter_context(special_cluster(**options))
        return self._stack.enter_context(rows.real(cluster))


def waits(*cases: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a function of a stage (and of each case) that is to run beside the others."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def test(acts: Acts, case: Any) -> None:
            acts.judge(function, case)

        test.__name__, test.__doc__ = function.__name__, function.__doc__
        setattr(test, _ATTRIBUTE, function)
        return pytest.mark.parametrize("case", cases or [None], ids=str if cases else [""])(test)

    return decorate


class Acts:
    """The tests that were begun."""

    def __init__(self, items: list[pytest.Item], folder: Path) -> None:
        self._folder = folder
        wanted = [item for item in items if hasattr(getattr(item, "function", None), _ATTRIBUTE)]
        self._pool = ThreadPoolExecutor(max(len(wanted), 1))
        self._begun: dict[tuple[str, Any], Future[None]] = {}
        for number, item in enumerate(wanted):
            function = getattr(item.function, _ATTRIBUTE)
            case = item.callspec.params["case"]
            place = folder / str(number)
            place.mkdir()
            self._begun[function.__name__, case] = self._pool.submit(_play, function, case, place)

    def judge(self, function: Callable[..., None], case: Any) -> None:
        self._begun[function.__name__, case].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _play(function: Callable[..., None], case: Any, folder: Path) -> None:
    with ExitStack() as stack:
        function(Stage(folder, stack), *([] if case is None else [case]))
