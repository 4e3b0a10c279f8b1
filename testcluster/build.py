"""Writing a cluster's files: every step may be repeated, and completes what a crash left undone."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from testcluster import account, database, slurm_conf, sshd_conf
from testcluster.execute import run
from testcluster.machine import SCRIPTS, Machine
from testcluster.state import give_to_caller

NULL_DEVICE = os.makedev(1, 3)
_SSHD = Path("/usr/sbin/sshd")
_RECENT_OPENSSH = (9, 8)


def build(machine: Machine) -> None:
    """Make everything that must be there before the first daemon starts."""
    _folders(machine)
    shell = shutil.which(machine.options.login_shell, path="/usr/bin:/bin") or "/bin/sh"
    account.create(machine.layout, shell, machine.state.password)
    _keys(machine)
    _slurm(machine)
    _gpus(machine)
    _sshd(machine)
    _clients(machine)
    _home(machine)
    if machine.options.accounting:
        database.install(machine)


def _folders(machine: Machine) -> None:
    layout = machine.layout
    for folder in (layout.etc, layout.ssh, layout.run, layout.log, layout.devices):
        folder.mkdir(mode=0o755, exist_ok=True)
    for name in ("bin", "slurmctld", "spool", "tmp"):
        (layout.root / name).mkdir(mode=0o755, exist_ok=True)
    (layout.root / "tmp").chmod(0o1777)
    # sshd's own runtime folder, which a service manager would make; it is the package's, not the cluster's
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _keys(machine: Machine) -> None:
    layout = machine.layout
    if not layout.munge_key.exists():
        layout.munge_key.touch(mode=0o600)
        layout.munge_key.write_bytes(secrets.token_bytes(1024))
    for key in (layout.etc / "ssh_host_ed25519_key", layout.key):
        if not key.with_suffix(".pub").exists():
            key.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", layout.user, "-f", str(key)])
    shutil.copy(layout.key.with_suffix(".pub"), layout.etc / "authorized_keys")
    give_to_caller(layout.key, 0o600)


def _slurm(machine: Machine) -> None:
    layout, options, confine = machine.layout, machine.options, machine.confines_memory
    layout.slurm_conf.write_text(slurm_conf.slurm_conf(options, layout, machine.ports, cgroups=confine))
    (layout.etc / "gres.conf").write_text(slurm_conf.gres_conf(options, layout))
    (layout.etc / "cgroup.conf").write_text(
        slurm_conf.cgroup_conf(cgroups=confine, version=machine.version("sinfo -V"))
    )
    if options.accounting:
        conf = layout.etc / "slurmdbd.conf"
        conf.touch(mode=0o600)  # slurmdbd insists
        conf.write_text(slurm_conf.slurmdbd_conf(layout, machine.ports))


def _gpus(machine: Machine) -> None:
    for number in range(machine.options.gpus):
        device = machine.layout.devices / f"gpu{number}"
        if not device.exists():
            os.mknod(device, stat.S_IFCHR | 0o666, NULL_DEVICE)


def sshd_program(machine: Machine) -> Path:
    """What to start as sshd; before 9.8 it takes the name of its PAM service from its own."""
    return machine.layout.root / "bin" / machine.layout.user if sshd_conf.uses_pam(machine.options) else _SSHD


def _sshd(machine: Machine) -> None:
    options, layout = machine.options, machine.layout
    for script in ("late_login.sh", "one_time_code.sh"):
        shutil.copy(SCRIPTS / script, layout.root / "bin" / script)
    recent = machine.version("ssh -V") >= _RECENT_OPENSSH
    text = sshd_conf.sshd_config(options, layout, machine.ports["sshd"], recent=recent)
    (layout.etc / "sshd_config").write_text(text)
    (layout.etc / "banner").write_text(sshd_conf.BANNER)
    if sshd_conf.uses_pam(options):
        program = sshd_program(machine)
        program.unlink(missing_ok=True)
        program.symlink_to(_SSHD)
        check = layout.root / "bin" / "one_time_code.sh"
        machine.pam_service.write_text(sshd_conf.pam_service(options, layout, check))


def _clients(machine: Machine) -> None:
    options, layout, port = machine.options, machine.layout, machine.ports["sshd"]
    public_key = (layout.etc / "ssh_host_ed25519_key.pub").read_text()
    layout.known_hosts.write_text(f"[127.0.0.1]:{port} {public_key}")
    layout.ssh_config.write_text(sshd_conf.ssh_config(layout, alias(options.name), port))
    shutil.copy(SCRIPTS / "askpass.sh", layout.askpass)
    if options.auth == "one-time":
        layout.codes.mkdir(exist_ok=True)
        give_to_caller(layout.codes, 0o700)
    password = layout.ssh / "password"
    password.touch(mode=0o600)
    password.write_text(f"{machine.state.password}\n")
    give_to_caller(password, 0o600)


def _home(machine: Machine) -> None:
    options, layout = machine.options, machine.layout
    start_file = layout.home / sshd_conf.START_FILES[options.login_shell]
    account.give(layout, start_file, sshd_conf.start_file(options, layout))
    if options.login_shell == "bash":
        account.give(layout, layout.home / ".profile", ". ~/.bashrc\n")
    if options.late_files:
        account.give_folder(layout, layout.late)
    if not options.login_python:
        _bin_without_python(layout.root / "login-bin", machine.root)


def _bin_without_python(folder: Path, root: Path) -> None:
    folder.mkdir(exist_ok=True)
    for program in (root / "usr" / "bin").iterdir():
        link = folder / program.name
        if not program.name.startswith("python") and not link.is_symlink():
            link.symlink_to(f"/usr/bin/{program.name}")


def alias(name: str) -> str:
    """The cluster's host name in its ssh_config."""
    return f"cluster-{name}"
