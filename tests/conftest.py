"""What holds for all tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# What runs the tests may ignore signals (nohup, a script's background), which every process here would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# uv: the set-up's own, where there is no other; with the machine's certificates, as the set-up does
os.environ.setdefault("UV_SYSTEM_CERTS", "1")
os.environ.setdefault("UV_NATIVE_TLS", "1")
os.environ["PATH"] += os.pathsep + str(Path(__file__).parents[1] / ".tools" / "bin")

# the same examples each time: what is new is looked for in `make test-all` (--hypothesis-profile=new)
settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False)
settings.load_profile("same")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the channels that tests opened in this process, as the end of a process of Dagster's does."""
    targets = sys.modules.get("dagster_slurm.resources.targets")
    if targets is not None:
        targets.close_all()
