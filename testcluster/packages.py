"""The Debian packages that a cluster needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from testcluster.execute import ClusterError, clean_environment, run

# program -> package. MariaDB's "-core" packages bring no system service and no system database.
PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "mariadbd": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
}
EXTRA_PROGRAMS = {"tcsh": "tcsh", "fish": "fish", "bindfs": "bindfs", "debootstrap": "debootstrap"}
_POLICY = Path("/usr/sbin/policy-rc.d")
_SAVED_POLICY = Path("/usr/sbin/policy-rc.d.before-dagster-slurm")
_REFUSE = "#!/bin/sh\n# dagster-slurm: the test cluster's packages must not start services\nexit 101\n"


def install(extra: list[str]) -> None:
    """Install what is missing, as root; `extra` names programs of EXTRA_PROGRAMS."""
    wanted = {**PROGRAMS, **{program: EXTRA_PROGRAMS[program] for program in extra}}
    path = clean_environment()["PATH"]
    missing = sorted({package for program, package in wanted.items() if shutil.which(program, path=path) is None})
    _restore_policy()
    if not missing:
        return
    if shutil.which("apt-get", path=path) is None:
        msg = f"this is not Debian; a test cluster needs these packages: {' '.join(missing)}"
        raise ClusterError(msg)
    _refuse_services()
    try:
        _apt_install(missing)
    finally:
        _restore_policy()


def _apt_install(missing: list[str]) -> None:
    # The caller's environment may name a proxy.
    env = {**os.environ, **clean_environment(DEBIAN_FRONTEND="noninteractive")}
    apt_get = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120"]
    install_command = [*apt_get, "install", "--no-install-recommends", *missing]
    try:
        run(install_command, env=env, timeout=600)
    except ClusterError:
        # no package lists, or lists older than the mirror
        run([*apt_get, "update"], env=env, timeout=300)
        run(install_command, env=env, timeout=600)


def _refuse_services() -> None:
    if _POLICY.exists():
        _POLICY.rename(_SAVED_POLICY)
    _POLICY.write_text(_REFUSE)
    _POLICY.chmod(0o755)


def _restore_policy() -> None:
    """Undo `_refuse_services`, also for a run that was killed in between."""
    if _POLICY.exists() and _POLICY.read_text() == _REFUSE:
        _POLICY.unlink()
    if _SAVED_POLICY.exists():
        _SAVED_POLICY.rename(_POLICY)
