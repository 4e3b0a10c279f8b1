"""The daemons of a cluster: how each is started, and when it is ready."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testcluster import database, processes
from testcluster.execute import ClusterError, clean_environment, run, wait_for
from testcluster.layout import Layout
from testcluster.state import State

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0


@dataclass(frozen=True)
class Daemon:
    """One program that runs for as long as the cluster is up."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    env: dict[str, str]


def daemons(layout: Layout, state: State) -> list[Daemon]:
    """All daemons, in the order in which they must start."""
    slurm = {"SLURM_CONF": str(layout.slurm_conf)}
    ports = state.ports
    table = [Daemon("munged", _munged(layout), lambda: _listens(layout.munge_socket), {})]
    if state.options.accounting:
        where = {**slurm, "MYSQL_UNIX_PORT": str(layout.database_socket)}
        table += [
            Daemon("database", database.command(layout), lambda: _listens(layout.database_socket), {}),
            Daemon("slurmdbd", ["slurmdbd", "-D"], lambda: _accepts(ports["slurmdbd"]), where),
        ]
    table.append(Daemon("slurmctld", ["slurmctld", "-D"], lambda: _controller_answers(layout), slurm))
    for node in state.options.node_names:
        name = f"slurmd:{node}"
        # bound now: the variable of the loop changes
        table.append(Daemon(name, ["slurmd", "-D", "-N", node], lambda n=name: _accepts(ports[n]), slurm))
    sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", f"{layout.etc}/sshd_config"]
    table.append(Daemon("sshd", sshd, lambda: _accepts(ports["sshd"]), {}))
    return table


def _munged(layout: Layout) -> list[str]:
    return [
        "munged",
        "--foreground",
        f"--key-file={layout.munge_key}",
        f"--socket={layout.munge_socket}",
        f"--pid-file={layout.run}/munged.own-pid",
        f"--seed-file={layout.run}/munged.seed",
        f"--log-file={layout.log}/munged.own.log",
        "--num-threads=4",
    ]


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    return True


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def _controller_answers(layout: Layout) -> bool:
    env = clean_environment(SLURM_CONF=str(layout.slurm_conf))
    return "is UP" in run(["scontrol", "ping"], env=env, timeout=10)


def is_running(layout: Layout, name: str) -> bool:
    """Whether the daemon's process lives."""
    return processes.recorded_pid(layout.pid_file(name)) is not None


def launch(layout: Layout, daemon: Daemon) -> None:
    """Start a daemon unless it runs, without waiting for it."""
    if is_running(layout, daemon.name):
        return
    processes.start(
        daemon.command,
        pid_file=layout.pid_file(daemon.name),
        log_file=layout.log_file(daemon.name),
        env={**daemon.env, processes.MARKER: str(layout.root)},
    )


def wait_ready(layout: Layout, daemon: Daemon) -> None:
    """Wait until a daemon serves; if it cannot, say what it printed."""

    def ready() -> bool:
        if not is_running(layout, daemon.name):
            raise DaemonDiedError
        return daemon.ready()

    try:
        wait_for(daemon.name, ready, timeout=READY_TIMEOUT)
    except (DaemonDiedError, ClusterError) as error:
        log = layout.log_file(daemon.name).read_text(errors="replace")[-1500:]
        msg = f"{daemon.name} did not start ({error or 'it ended'}):\n{log}"
        raise ClusterError(msg) from error


class DaemonDiedError(Exception):
    """The process ended while we waited for it."""


def stop(layout: Layout, name: str) -> None:
    """Stop a daemon. Of sshd the open sessions as well, as if the login node were gone; jobs survive their slurmd."""
    pid = processes.recorded_pid(layout.pid_file(name))
    if pid is not None:
        sessions = processes.descendants(pid) if name == "sshd" else []
        processes.stop([pid, *sessions], patience=STOP_TIMEOUT)
    layout.pid_file(name).unlink(missing_ok=True)
