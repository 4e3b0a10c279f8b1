"""Real clusters for tests: fixtures for conftest.py to import, and what they are made of.

`cluster` is shared by the whole session; `make_cluster(...)` makes one with other options for a single test.
A module that needs a special cluster for several tests wraps `special_cluster` in a fixture of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testcluster import Cluster, ClusterOptions, down, names, up

_NUMBERS = itertools.count(1)
_SPECIAL = re.compile(r"x(\d+)-\d+")


def shared_name() -> str:
    """Name of the session's cluster; where tests run side by side (pytest-xdist), each process has its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return os.environ.get("DAGSTER_SLURM_TEST_CLUSTER", "test") + ("" if worker == "gw0" else f"-{worker}")


def shared_cluster() -> Cluster:
    """The session's cluster, brought up if need be; whoever calls this without the fixture leaves it up."""
    return up(ClusterOptions(name=shared_name()))


@contextlib.contextmanager
def special_cluster(**options: object) -> Iterator[Cluster]:
    """A cluster of its own with other `ClusterOptions`, removed in the end; 0.5 s without accounting, 9 s with it."""
    name = f"x{os.getpid()}-{next(_NUMBERS)}"
    try:
        yield up(ClusterOptions(name=name, **options))  # pyright: ignore[reportArgumentType] - checked by the dataclass
    finally:
        down(name)


def remove_abandoned() -> None:
    """Take down special clusters of test sessions that were killed."""
    for name in names():
        match = _SPECIAL.fullmatch(name)
        if match and not Path(f"/proc/{match[1]}").exists():
            down(name)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The shared cluster: left as it was found, up (as `make test` does) or down."""
    remove_abandoned()
    was_there = shared_name() in names()
    yield shared_cluster()
    if not was_there:
        down(shared_name())


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes special clusters, which end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(special_cluster(**options))
