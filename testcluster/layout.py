"""Where a cluster keeps its files: one folder that holds everything, so that removing it removes all."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Unix sockets allow 107 bytes; slurmstepd's are the longest below us: spool/node1/node1_1234567.4294967290
MAX_STATE_PATH = 60


def _open_to_others(folder: Path) -> bool:
    """Whether any user can walk to `folder`: the cluster's user has its home below it."""
    existing = [part for part in (folder, *folder.parents) if part.exists()]
    return all(part.stat().st_mode & stat.S_IXOTH for part in existing)


def state_dir(name: str) -> Path:
    """The folder of the cluster `name` of this checkout: below the checkout where that works, else in /var/tmp."""
    preferred = REPOSITORY / ".cluster" / name
    if len(os.fsencode(preferred)) <= MAX_STATE_PATH and _open_to_others(preferred):
        return preferred
    return Path(f"/var/tmp/dagster-slurm-{_digest(REPOSITORY)}-{name}")


def names() -> list[str]:
    """Clusters of this checkout that are there, up or not."""
    prefix = f"dagster-slurm-{_digest(REPOSITORY)}-"
    below = [path.name for path in (REPOSITORY / ".cluster").glob("*")]
    return sorted(below + [path.name.removeprefix(prefix) for path in Path("/var/tmp").glob(f"{prefix}*")])


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:4]


@dataclass(frozen=True)
class Layout:
    """The paths inside a cluster's folder."""

    root: Path
    name: str

    @classmethod
    def of(cls, name: str) -> Layout:
        """The layout of the cluster `name` of this checkout."""
        return cls(state_dir(name), name)

    @property
    def user(self) -> str:
        """The unprivileged account of the cluster; names the checkout too, for two may have a cluster "dev"."""
        return f"dsc-{self.name}-{_digest(self.root)}"

    @property
    def state_file(self) -> Path:
        """Options, ports and secrets, written before anything else is made."""
        return self.root / "state.json"

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.root / "home"

    @property
    def etc(self) -> Path:
        """Configuration files of Slurm and sshd."""
        return self.root / "etc"

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF names."""
        return self.etc / "slurm.conf"

    @property
    def ssh(self) -> Path:
        """Keys, known hosts and configuration for ssh clients."""
        return self.root / "ssh"

    @property
    def key(self) -> Path:
        """The private key that logs in."""
        return self.ssh / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host key of the cluster's sshd."""
        return self.ssh / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`."""
        return self.ssh / "config"

    @property
    def askpass(self) -> Path:
        """For SSH_ASKPASS."""
        return self.ssh / "askpass"

    @property
    def codes(self) -> Path:
        """Each file in it is named like a code that lets the user in once."""
        return self.ssh / "codes"

    @property
    def late(self) -> Path:
        """What the login node may see late."""
        return self.home / "late"

    @property
    def run(self) -> Path:
        """Process ids and sockets."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """Log files of the daemons."""
        return self.root / "log"

    @property
    def devices(self) -> Path:
        """Device nodes that stand for GPUs."""
        return self.root / "dev"

    @property
    def database(self) -> Path:
        """MariaDB's data."""
        return self.root / "database"

    @property
    def munge_key(self) -> Path:
        """The secret that munge signs with."""
        return self.etc / "munge.key"

    @property
    def munge_socket(self) -> Path:
        """Where the cluster's munged listens."""
        return self.run / "munge.socket"

    @property
    def database_socket(self) -> Path:
        """Where the cluster's MariaDB listens."""
        return self.run / "database.socket"

    def pid_file(self, daemon: str) -> Path:
        """Process id and start time of a daemon, such as `slurmd:node1`."""
        return self.run / f"{daemon}.pid"

    def log_file(self, daemon: str) -> Path:
        """What a daemon prints; most write a log file besides."""
        return self.log / f"{daemon}.out"
