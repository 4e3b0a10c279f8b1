"""Writing a cluster's files: every step may be repeated, and completes what a crash left undone."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from testcluster import account, cgroups, database, slurm_conf, sshd_conf
from testcluster.execute import run
from testcluster.layout import Layout
from testcluster.state import State, give_to_caller

NULL_DEVICE = os.makedev(1, 3)


def build(layout: Layout, state: State) -> None:
    """Make everything that must be there before the first daemon starts."""
    _folders(layout)
    account.create(layout, shutil.which(state.options.login_shell, path="/usr/bin:/bin") or "/bin/sh", state.password)
    _keys(layout)
    _slurm(layout, state)
    _gpus(layout, state)
    _login_node(layout, state)
    if state.options.accounting:
        database.install(layout)


def _folders(layout: Layout) -> None:
    for folder in (layout.etc, layout.ssh, layout.run, layout.log):
        folder.mkdir(mode=0o755, exist_ok=True)
    for folder in ("slurmctld", "spool"):
        (layout.root / folder).mkdir(mode=0o755, exist_ok=True)
    # sshd's own runtime folder, which a service manager would make; it is the package's, not the cluster's
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _keys(layout: Layout) -> None:
    if not layout.munge_key.exists():
        layout.munge_key.touch(mode=0o600)
        layout.munge_key.write_bytes(secrets.token_bytes(1024))
    host_key = layout.etc / "ssh_host_ed25519_key"
    for key in (host_key, layout.key):
        if not key.with_suffix(".pub").exists():
            key.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", layout.user, "-f", str(key)])
    shutil.copy(layout.key.with_suffix(".pub"), layout.etc / "authorized_keys")
    give_to_caller(layout.key, 0o600)


def _slurm(layout: Layout, state: State) -> None:
    confine = confines(state)
    text = slurm_conf.slurm_conf(state.options, layout, state.ports, cgroups=confine)
    layout.slurm_conf.write_text(text)
    (layout.etc / "gres.conf").write_text(slurm_conf.gres_conf(state.options, layout))
    (layout.etc / "cgroup.conf").write_text(slurm_conf.cgroup_conf(cgroups=confine))
    if state.options.accounting:
        conf = layout.etc / "slurmdbd.conf"
        conf.touch(mode=0o600)  # slurmdbd insists
        conf.write_text(slurm_conf.slurmdbd_conf(layout, state.ports))


def confines(state: State) -> bool:
    """Whether jobs of this cluster are held to their memory."""
    return state.options.cgroups and cgroups.usable()


def _gpus(layout: Layout, state: State) -> None:
    layout.devices.mkdir(exist_ok=True)
    for number in range(state.options.gpus):
        device = layout.devices / f"gpu{number}"
        if not device.exists():
            os.mknod(device, stat.S_IFCHR | 0o666, NULL_DEVICE)


def _login_node(layout: Layout, state: State) -> None:
    options, port = state.options, state.ports["sshd"]
    (layout.etc / "sshd_config").write_text(sshd_conf.sshd_config(options, layout, port))
    (layout.etc / "banner").write_text(sshd_conf.BANNER)
    public_key = (layout.etc / "ssh_host_ed25519_key.pub").read_text()
    layout.known_hosts.write_text(f"[127.0.0.1]:{port} {public_key}")
    layout.ssh_config.write_text(sshd_conf.ssh_config(layout, alias(options.name), port))
    start_file = layout.home / sshd_conf.START_FILES[options.login_shell]
    account.give(layout, start_file, sshd_conf.start_file(options, layout))
    if options.login_shell == "bash":
        account.give(layout, layout.home / ".profile", ". ~/.bashrc\n")
    if not options.login_python:
        _bin_without_python(layout.root / "login-bin")


def _bin_without_python(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for program in Path("/usr/bin").iterdir():
        link = folder / program.name
        if not program.name.startswith("python") and not link.is_symlink():
            link.symlink_to(program)


def alias(name: str) -> str:
    """The cluster's host name in its ssh_config."""
    return f"cluster-{name}"
