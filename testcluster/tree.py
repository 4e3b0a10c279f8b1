"""A second Debian in a folder, for another version of Slurm."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from testcluster.execute import clean_environment, run

_PACKAGES = "slurm-client,slurmctld,slurmd,slurmdbd,munge,mariadb-server-core,mariadb-client-core,openssh-server"
_TOOLS = "python3-minimal,procps,tcsh,fish,bindfs,ca-certificates"
_MIRROR = "http://deb.debian.org/debian"


def folder(release: str) -> Path:
    """Where the tree lies: outside of all clusters, which share it, and of homes, which sudo may change."""
    return Path("/var/cache/dagster-slurm") / release


def make(release: str) -> None:
    """Make the tree unless it is there; about a minute."""
    tree = folder(release)
    tree.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(tree.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / "complete").exists():
            _debootstrap(release, tree)
    finally:
        os.close(lock)


def _debootstrap(release: str, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    env = {**os.environ, **clean_environment()}  # the caller's may name a proxy
    include = f"--include={_PACKAGES},{_TOOLS}"
    run(["debootstrap", "--variant=minbase", include, release, str(tree), _MIRROR], env=env, timeout=900)
    for name in ("run/sshd", "dev/pts", "dev/shm", "sys/fs/cgroup"):
        (tree / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in ("hosts", "resolv.conf"):
        (tree / "etc" / name).touch()
    (tree / "complete").touch()
