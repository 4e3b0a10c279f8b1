"""Where it is measured: a cluster of our own on this machine, removed in the end."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource, SSHConnectionResource
from dagster_slurm.resources import targets
from dagster_slurm.transport.ssh import SSHSettings, logout
from testcluster import Cluster, ClusterOptions, down, up

REPOSITORY = Path(__file__).resolve().parent.parent
PAYLOADS = Path(__file__).resolve().parent / "payloads"
FOLDER = REPOSITORY / ".bench"
NAME = "bench"
_OPTIONS = {"cpus": 32, "memory": 16_000, "sshd_config": ("LogLevel VERBOSE",)}


@contextlib.contextmanager
def cluster(suffix: str = "", **options: object) -> Iterator[Cluster]:
    """A cluster on which a hundred small jobs run at once, and whose sshd notes each login and session."""
    name = NAME + suffix
    down(name)
    try:
        yield up(ClusterOptions(name=name, **{**_OPTIONS, **options}))  # pyright: ignore[reportArgumentType]
    finally:
        down(name)


def connection(place: Cluster) -> SSHConnectionResource:
    """How to reach it."""
    return SSHConnectionResource(
        host=place.ssh_host,
        port=place.ssh_port,
        user=place.user,
        key_path=str(place.key_path),
        known_hosts_file=str(place.known_hosts),
    )


def compute(place: Cluster | None) -> ComputeResource:
    """The resource for assets: on the cluster, or (None) on this machine."""
    if place is None:
        return ComputeResource(mode="local", local_base=str(FOLDER / "local"))
    queue = SlurmQueueConfig(partition="compute", mem=100)
    return ComputeResource(mode="slurm", slurm=SlurmResource(ssh=connection(place), queue=queue))


def log_out(place: Cluster) -> None:
    """Give up the shared connection, and with it this process's channel."""
    targets.close_all()
    logout(settings(place))


def settings(place: Cluster) -> SSHSettings:
    """What the transport is told."""
    return connection(place).settings()


def environment(place: Cluster) -> dict[str, str]:
    """The environment for a program that finds the cluster by it."""
    foreign = ("SLURM_", "SBATCH_", "DAGSTER_SLURM_MODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **place.client_environment, "DAGSTER_HOME": str(dagster_home())}


def dagster_home() -> Path:
    """A Dagster home of our own."""
    home = FOLDER / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return home


def start(place: Cluster, module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program of ours in a process of its own; it prints one line of JSON."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{module}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            cwd=REPOSITORY,
            env=environment(place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Send standard error, where Dagster logs, to a file: a terminal would be measured as well."""
    FOLDER.mkdir(exist_ok=True)
    kept = os.dup(2)
    with (FOLDER / "dagster.log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Sshd:
    """What the cluster's sshd noted since this was made."""

    def __init__(self, place: Cluster) -> None:
        self._log = place.layout.log / "sshd.out"
        self._from = self._log.stat().st_size

    def _count(self, words: str) -> int:
        with self._log.open("rb") as file:
            file.seek(self._from)
            return len([line for line in file.read().decode().splitlines() if line.startswith(words)])

    @property
    def logins(self) -> int:
        """Connections that were let in."""
        return self._count("Accepted publickey for ")

    @property
    def sessions(self) -> int:
        """Programs that were started."""
        return self._count("Starting session: ")


_SCRIPT = "#!/bin/bash\n#SBATCH -p compute -n1 --mem=100 -o log\npython3 payload.py\n: >done.$SLURM_JOB_ID\n"


class Raw:
    """The cluster as one uses it by hand: ssh over a shared connection."""

    def __init__(self, place: Cluster) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dsb-"))
        self._ssh = ["ssh", "-F", str(place.ssh_config), "-S", str(self._folder / "s")]
        self._alias = place.ssh_alias
        subprocess.run([*self._ssh, "-M", "-N", "-f", self._alias], check=True, stdin=subprocess.DEVNULL)

    def run(self, command: str) -> str:
        """Run a command line on the login node; it must succeed."""
        argv = [*self._ssh, "-o", "ControlMaster=no", self._alias, command]
        return subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout

    def prepare(self, folder: str, payload: str, script: str = _SCRIPT) -> None:
        """Lay a batch script into a folder of the home, that runs a Python payload and then makes a file."""
        texts = [("job.sh", script), ("payload.py", payload)]
        writes = [f"printf %s {shlex.quote(text)} >{shlex.quote(name)}" for name, text in texts]
        self.run(f"mkdir -p {folder} && cd {folder} && {' && '.join(writes)}")

    def submit_and_wait(self, folder: str, jobs: int = 1) -> None:
        """Submit the script so many times, and wait for as many files."""
        submit = f'cd {folder}; ids=; for i in $(seq {jobs}); do ids="$ids $(sbatch --parsable job.sh)"; done'
        self.run(f"{submit}; for id in $ids; do until [ -e done.$id ]; do sleep 0.01; done; done")

    def close(self) -> None:
        """End the connection."""
        subprocess.run([*self._ssh, "-O", "exit", self._alias], check=False, capture_output=True)
        shutil.rmtree(self._folder)
