"""The rows of the suite: local processes, Slurm's commands faked, a real Slurm over a real sshd."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.session_launch import SessionAsk
from dagster_slurm.engine.turns import Turns
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.schedulers.slurm import Slurm, Step
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.process import ProcessStream
from dagster_slurm.transport.ssh.folder import private_folder
from dagster_slurm.transport.ssh.settings import SSHSettings
from dagster_slurm.transport.ssh.transport import SSHTransport
from testcluster import Cluster
from tests.conformance.driver import Rig
from tests.fakeslurm import install

_numbers = itertools.count(1)


class Beside(LocalTransport):
    """The agent beside us, in an environment of its own: several fakes can be used at once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._environment = dict(environment)

    def open(self) -> ProcessStream:
        return ProcessStream(self._argv, explain=self._explain, grace=5.0, env=self._environment)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What an agent beside us starts with: what agents share lies in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder), **more}


@contextmanager
def local(folder: Path) -> Generator[Rig]:
    shared = _made(folder / "shared")
    rig = Rig("local", lambda: Beside(environment(folder / "tmp")), Direct(), folder / "base", shared)
    try:
        yield rig
    finally:
        rig.close()


@contextmanager
def faked(folder: Path, **settings: Any) -> Generator[Rig]:
    settings = {"kill_wait": 0.5, "seconds_per_minute": 1000.0, **settings}
    with install(folder / "slurm", **settings) as fake:
        shared = _made(folder / "shared")
        variables = environment(folder / "tmp", PATH=fake.path)
        rig = Rig("faked", lambda: Beside(variables), Slurm(), folder / "base", shared, backstage=fake)
        try:
            yield rig
        finally:
            rig.close()


@contextmanager
def real(cluster: Cluster, **settings: Any) -> Generator[Rig]:
    user = pwd.getpwnam(cluster.user)
    place = _made(cluster.home / f"conformance-{os.getpid()}-{next(_numbers)}")
    shared = _made(place / "shared")
    for folder in (place, shared):
        os.chown(folder, user.pw_uid, user.pw_gid)
    rig = real_rig(cluster, place / "base", shared, **settings)
    try:
        yield rig
    finally:
        rig.close()
        _end_jobs_below(cluster, place)
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def session(
    cluster: Cluster, *, idle_timeout: float = 120.0, max_concurrent_jobs: int | None = None, **asked: Any
) -> Generator[Rig]:
    """The real cluster, where all that a test runs is handed to one session."""
    with real(cluster) as rig:
        rig.asked = {"idle_timeout": idle_timeout, "max_concurrent_jobs": max_concurrent_jobs, **asked}
        hands_to_a_session(rig)
        yield rig


@contextmanager
def together(cluster: Cluster) -> Generator[Rig]:
    """The real cluster, where each launch is the first component of a heterogeneous job."""
    with real(cluster) as rig:
        rig.kind = "together"
        yield rig


def hands_to_a_session(rig: Rig) -> None:
    """Let what a row of the real cluster runs be handed to a session, the same one for all processes at that place."""
    asked = {"nodes": 1, "cpus": 4, "mem": 1000, "time_limit": 10, **rig.asked}
    life = {name: asked.pop(name) for name in ("idle_timeout", "max_concurrent_jobs")}
    rig.session = SessionAsk(
        scope=rig.base.parent.name,
        name="conformance",
        named=True,
        resources=Resources(**asked),
        python="python3",
        **life,
    )
    rig.kind, rig.scheduler = "session", Step()


def _end_jobs_below(cluster: Cluster, place: Path) -> None:
    rows = [line.split("|", 1) for line in cluster.run(["squeue", "-h", "-o", "%i|%Z"]).stdout.splitlines()]
    jobs = [job for job, folder in rows if folder.startswith(f"{place}/")]
    if jobs:
        cluster.run(["scancel", *jobs])


def real_rig(cluster: Cluster, base: Path, shared: Path, **settings: Any) -> Rig:
    return Rig(
        "real",
        lambda: SSHTransport(ssh(cluster, **settings)),
        Slurm(),
        base,
        shared,
        lambda: Turns(private_folder() / f"turns-{cluster.name}"),
        backstage=cluster,
        resources={"cpus": 1, "mem": 100, "time_limit": 5},
    )


def ssh(cluster: Cluster, **settings: Any) -> SSHSettings:
    return SSHSettings(host=cluster.ssh_alias, config_file=str(cluster.ssh_config), **settings)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
