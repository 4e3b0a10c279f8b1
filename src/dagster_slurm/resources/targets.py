"""The hosts of this process, by configuration.

Dagster rebuilds nested resources and sets resources up once per process and again in the parent: what is open must not
live in them.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import cast

from dagster_slurm.core.names import digest
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.session_launch import SessionAsk
from dagster_slurm.engine.sessions import Session
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.turns import Turns
from dagster_slurm.resources.environment import default_local_base
from dagster_slurm.resources.slurm import SlurmResource
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.schedulers.scheduler import Scheduler
from dagster_slurm.schedulers.slurm import Slurm, Step
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.folder import private_folder
from dagster_slurm.transport.ssh.transport import SSHTransport
from dagster_slurm.transport.stream import Transport

_hosts: dict[tuple[int, str, str], Host] = {}
_sessions: dict[tuple[int, Host, str, str], Session] = {}
_lock = threading.Lock()


def local(base: str | None) -> Target:
    """Return this machine, for processes beside Dagster; never connects anywhere."""
    scheduler = Direct()
    return Target(_host(LocalTransport(), scheduler), scheduler, base or default_local_base())


def cluster(slurm: SlurmResource) -> Target:
    """Return a cluster: through SSH, or, where Dagster runs on the login node, beside us."""
    scheduler = Slurm()
    if slurm.ssh is None:
        return Target(_host(LocalTransport(), scheduler), scheduler, slurm.remote_base)
    transport = SSHTransport(slurm.ssh.settings(slurm.remote_python))
    turns = Turns(private_folder() / f"turns-{digest(transport.key)[:12]}")
    return Target(_host(transport, scheduler, turns), scheduler, slurm.remote_base)


def in_session(slurm: SlurmResource, ask: SessionAsk) -> Target:
    """Return a session on a cluster, the same one for all steps of this process."""
    target = cluster(slurm)
    key = (os.getpid(), target.host, target.base, ask.key)
    with _lock:
        if key not in _sessions:
            _sessions[key] = Session(target.host, cast("Slurm", target.scheduler), ask)
        session = _sessions[key]
    return Target(target.host, Step(), target.base, session)


def _host(transport: Transport, scheduler: Scheduler, turns: Turns | None = None) -> Host:
    key = (os.getpid(), transport.key, " ".join((scheduler.kind, *scheduler.queue)))
    with _lock:
        if key not in _hosts:
            _hosts[key] = Host(transport, scheduler, turns)
        return _hosts[key]


def close_all() -> None:
    """Close the channels of this process; they are opened again when they are needed."""
    with _lock:
        mine = [host for (pid, _, _), host in _hosts.items() if pid == os.getpid()]
    for host in mine:
        host.close()


atexit.register(close_all)
