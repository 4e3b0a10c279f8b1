"""Sessions in which assets run, for the tests of a module."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm import ComputeResource, SlurmSessionResource
from testcluster import Cluster
from tests.dagster.conftest import on
from tests.launchers.conftest import Outcome, Stage


@contextmanager
def place_on(cluster: Cluster) -> Generator[Path]:
    """A folder of the cluster's user's, with one that payloads share."""
    folder = Path(tempfile.mkdtemp(prefix="session-", dir=cluster.home))
    (folder / "shared").mkdir()
    user = pwd.getpwnam(cluster.user)
    for path in (folder, folder / "shared"):
        os.chown(path, user.pw_uid, user.pw_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stage_in(
    cluster: Cluster, place: Path, capture: pytest.CaptureFixture[str], settings: dict[str, Any], **asked: Any
) -> Generator[Stage]:
    """Where assets run in a session; arguments are those of the session, which ends with it."""
    session = SlurmSessionResource(**{"name": place.name, "time_limit": 20, "idle_timeout": 120, **asked})
    slurm = on(cluster, remote_base=str(place / "base")).slurm
    compute = ComputeResource(mode="slurm-session", slurm=slurm, session=session, **settings)
    yield Stage(compute, place / "shared", cluster, capture, place)
    for path in (place / "shared").iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)


def end_all(cluster: Cluster, place: Path) -> None:
    """Cancel the jobs below a folder."""
    rows = [line.split("|", 1) for line in cluster.run(["squeue", "-h", "-o", "%i|%Z"]).stdout.splitlines()]
    jobs = [job for job, folder in rows if folder.startswith(f"{place}/")]
    if jobs:
        cluster.run(["scancel", *jobs])


def ran(outcome: Outcome) -> Outcome:
    assert outcome.failure is None, outcome.error
    return outcome
