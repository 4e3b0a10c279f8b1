"""A cluster as tests see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testcluster import build, daemons, lifecycle
from testcluster.execute import ClusterError, root_prefix, run
from testcluster.layout import REPOSITORY, Layout
from testcluster.machine import Machine
from testcluster.options import ClusterOptions
from testcluster.state import State


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up, or was when this was made."""

    machine: Machine

    ssh_host = "127.0.0.1"

    @property
    def layout(self) -> Layout:
        """Paths of its files."""
        return self.machine.layout

    @property
    def options(self) -> ClusterOptions:
        """What it was asked to be."""
        return self.machine.options

    @property
    def name(self) -> str:
        """Its name."""
        return self.options.name

    @property
    def ssh_port(self) -> int:
        """Where its sshd listens."""
        return self.machine.ports["sshd"]

    @property
    def ssh_alias(self) -> str:
        """Its host name for `ssh -F`."""
        return build.alias(self.name)

    @property
    def ssh_config(self) -> Path:
        """File for `ssh -F`."""
        return self.layout.ssh_config

    @property
    def user(self) -> str:
        """The unprivileged user."""
        return self.layout.user

    @property
    def password(self) -> str:
        """The user's password."""
        return self.machine.state.password

    @property
    def key_path(self) -> Path:
        """The user's private key."""
        return self.layout.key

    @property
    def known_hosts(self) -> Path:
        """File with the key of sshd."""
        return self.layout.known_hosts

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.layout.home

    @property
    def state_dir(self) -> Path:
        """Everything that belongs to the cluster."""
        return self.layout.root

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF must name."""
        return self.layout.slurm_conf

    @property
    def confines_memory(self) -> bool:
        """Whether a job that takes more memory than it asked for is killed."""
        return self.machine.confines_memory

    @property
    def environment(self) -> dict[str, str]:
        """For commands of the host's Slurm; `admin` and `run` also reach a cluster of another release."""
        return self.machine.environment

    @property
    def client_environment(self) -> dict[str, str]:
        """What tells dagster-slurm's examples where the cluster is."""
        return {
            "SLURM_EDGE_NODE_HOST": self.ssh_host,
            "SLURM_EDGE_NODE_PORT": str(self.ssh_port),
            "SLURM_EDGE_NODE_USER": self.user,
            "SLURM_EDGE_NODE_KEY_PATH": str(self.key_path),
            "SLURM_EDGE_NODE_KNOWN_HOSTS_FILE": str(self.known_hosts),
            "SLURM_PARTITION": "compute",
        }

    def run(self, command: Sequence[str], *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on this host as the cluster's user, without ssh, in its home."""
        full = self.machine.as_user(command)
        return subprocess.run(full, capture_output=True, text=True, timeout=timeout, check=False)

    def ssh(self, command: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command line in the user's login shell, over ssh; with the key, or what else the cluster asks for."""
        full = ["ssh", "-F", str(self.ssh_config), self.ssh_alias, command]
        return subprocess.run(
            full,
            env={**os.environ, **self.askpass_environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def askpass_environment(self) -> dict[str, str]:
        """Makes OpenSSH answer prompts by itself, with the password or a fresh one-time code."""
        return {"SSH_ASKPASS": str(self.layout.askpass), "SSH_ASKPASS_REQUIRE": "force"}

    def one_time_code(self) -> str:
        """A code that lets the user in once, where `auth` is "one-time"."""
        return run([str(self.layout.askpass)]).strip()

    def admin(self, command: Sequence[str], *, timeout: float = 60) -> str:
        """Standard output of a Slurm command that root runs, and that must succeed."""
        return self.machine.run(command, timeout=timeout)

    def stop(self, daemon: str) -> None:
        """Stop `slurmctld`, `slurmdbd`, `database`, `munged`, `sshd` (with its sessions) or `slurmd:<node>`."""
        self._daemon(daemon)
        if root_prefix():
            command_line("stop", "--name", self.name, daemon)
        else:
            daemons.stop(self.layout, daemon)

    def start(self, daemon: str) -> None:
        """Start a daemon, and wait until it serves."""
        found = self._daemon(daemon)
        if root_prefix():
            command_line("start", "--name", self.name, daemon)
            return
        daemons.launch(self.layout, found)
        daemons.wait_ready(self.layout, found)

    def restart(self, daemon: str) -> None:
        """Stop and start a daemon."""
        self.stop(daemon)
        self.start(daemon)

    def running(self) -> dict[str, bool]:
        """Which daemons run."""
        table = daemons.daemons(self.machine)
        return {daemon.name: daemons.is_running(self.layout, daemon.name) for daemon in table}

    def node_state(self, node: str) -> str:
        """A node's state in Slurm's words, such as `idle` or `drained`."""
        return self.admin(["sinfo", "--noheader", "--Node", f"--nodes={node}", "--format=%T"]).split()[0]

    def drain(self, node: str, reason: str = "test") -> None:
        """Let a node take no more jobs."""
        self.admin(["scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}"])

    def fail(self, node: str, reason: str = "test") -> None:
        """Declare a node dead: its jobs end with NODE_FAIL or are requeued, at once. Being healthy, it soon returns."""
        self.admin(["scontrol", "update", f"NodeName={node}", "State=DOWN", f"Reason={reason}"])

    def resume(self, node: str) -> None:
        """Let a node take jobs again."""
        self.admin(["scontrol", "update", f"NodeName={node}", "State=RESUME"])

    def _daemon(self, name: str) -> daemons.Daemon:
        table = {daemon.name: daemon for daemon in daemons.daemons(self.machine)}
        if name not in table:
            msg = f"no daemon {name!r}; there are {', '.join(table)}"
            raise ClusterError(msg)
        return table[name]


def command_line(*arguments: str) -> None:
    """Do as root, through sudo, what this process may not."""
    command = [*root_prefix(), "--preserve-env", sys.executable, "-m", "testcluster", *arguments]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        msg = "a test cluster needs root, and there is no sudo"
        raise ClusterError(msg) from error
    if done.returncode:
        reason = done.stderr.strip().removeprefix("testcluster: ")
        if reason.startswith("sudo:"):
            reason = f"a test cluster needs root, or a sudo that asks for no password ({reason})"
        raise ClusterError(reason)


def up(options: ClusterOptions) -> Cluster:
    """Bring a cluster up; one that runs already is only looked at."""
    layout = Layout.of(options.name)
    if root_prefix():
        command_line("up", "--options", options.to_json())
        return load(options.name)
    return Cluster(lifecycle.bring_up(layout, options))


def load(name: str) -> Cluster:
    """The cluster of that name, which must be there."""
    layout = Layout.of(name)
    state = State.load(layout)
    if state is None:
        msg = f"no cluster {name!r}; start it with: python3 -m testcluster up --name {name}"
        raise ClusterError(msg)
    return Cluster(Machine(layout, state))


def down(name: str) -> None:
    """Remove a cluster and everything that it left on the host; none is no error."""
    if root_prefix():
        command_line("down", "--name", name)
    else:
        lifecycle.take_down(Layout.of(name))
