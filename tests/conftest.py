"""What holds for all tests."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings

# the same examples each time: what is new is looked for in `make test-all` (--hypothesis-profile=new)
settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False)
settings.load_profile("same")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the channels that tests opened in this process, as the end of a process of Dagster's does."""
    targets = sys.modules.get("dagster_slurm.resources.targets")
    if targets is not None:
        targets.close_all()
