"""The daemons of a cluster: how each is started, and when it is ready."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from testcluster import build, database, processes
from testcluster.execute import ClusterError, wait_for
from testcluster.layout import Layout
from testcluster.machine import PRIVATE_MOUNTS, Machine

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0


@dataclass(frozen=True)
class Daemon:
    """One program that runs for as long as the cluster is up."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    env: dict[str, str]


def daemons(machine: Machine) -> list[Daemon]:
    """All daemons, in the order in which they must start."""
    layout, ports = machine.layout, machine.ports
    slurm = {"SLURM_CONF": str(layout.slurm_conf)}
    table = [Daemon("munged", _munged(layout), lambda: _listens(layout.munge_socket), {})]
    if machine.options.accounting:
        where = {**slurm, "MYSQL_UNIX_PORT": str(layout.database_socket)}
        table += [
            Daemon("database", database.command(layout), lambda: _listens(layout.database_socket), {}),
            Daemon("slurmdbd", ["slurmdbd", "-D"], lambda: _accepts(ports["slurmdbd"]), where),
        ]
    table.append(Daemon("slurmctld", ["slurmctld", "-D"], lambda: _controller_answers(machine), slurm))
    for node in machine.options.node_names:
        name = f"slurmd:{node}"
        # bound now: the variable of the loop changes
        table.append(Daemon(name, ["slurmd", "-D", "-N", node], lambda n=name: _accepts(ports[n]), slurm))
    table.append(Daemon("sshd", _sshd(machine), lambda: _accepts(ports["sshd"]), {}))
    return [replace(daemon, command=[*machine.enter, *daemon.command]) for daemon in table]


def _sshd(machine: Machine) -> list[str]:
    layout, seconds = machine.layout, machine.options.late_files
    command = [str(build.sshd_program(machine)), "-D", "-e", "-f", f"{layout.etc}/sshd_config"]
    if seconds:
        late = [str(layout.root / "bin" / "late_login.sh"), str(seconds), str(layout.late)]
        command = [*([] if machine.enter else PRIVATE_MOUNTS), *late, *command]  # in a tree they are private already
    return command


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


def _controller_answers(machine: Machine) -> bool:
    return "is UP" in machine.run(["scontrol", "ping"], timeout=10)


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
        env=daemon.env,
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
