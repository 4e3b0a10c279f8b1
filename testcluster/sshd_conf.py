"""Configuration of the login node: sshd, ssh clients, the shell's start files; as text."""

from __future__ import annotations

from testcluster.layout import Layout
from testcluster.options import ClusterOptions

# What sshd gives a shell when nobody else sets it.
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
BANNER = "*** Test cluster: authorised use only. ***\n"
NOISE = "Welcome to the login node. Your quota is fine."
START_FILES = {"bash": ".bashrc", "tcsh": ".cshrc", "fish": ".config/fish/config.fish"}

_AUTHENTICATION = {
    "any": ("PubkeyAuthentication yes", "PasswordAuthentication yes", "KbdInteractiveAuthentication no", "UsePAM no"),
    "key": ("PubkeyAuthentication yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no"),
    "password": ("PubkeyAuthentication no", "PasswordAuthentication yes", "KbdInteractiveAuthentication no", "UsePAM no"),
    "keyboard-interactive": (
        "PubkeyAuthentication no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication yes",
        "UsePAM yes",  # the only way to a prompt
    ),
}


def sshd_config(options: ClusterOptions, layout: Layout, port: int) -> str:
    """Text of sshd_config. sshd takes the first value it reads, hence the user's lines come first."""
    lines = [
        *options.sshd_config,
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {layout.etc}/ssh_host_ed25519_key",
        f"PidFile {layout.run}/sshd.own-pid",
        f"AuthorizedKeysFile {layout.etc}/authorized_keys",
        f"AllowUsers {layout.user}",
        *_AUTHENTICATION[options.auth],
        f"MaxSessions {options.max_sessions}",
        f"MaxStartups {options.max_startups}",
        f"SetEnv SLURM_CONF={layout.slurm_conf}",
        "PrintMotd no",
        "PrintLastLog no",
        "UseDNS no",
        "Subsystem sftp internal-sftp",
    ]
    if options.banner:
        lines.append(f"Banner {layout.etc}/banner")
    return "\n".join([*lines, ""])


def ssh_config(layout: Layout, alias: str, port: int) -> str:
    """Text for `ssh -F FILE alias`, with strict checking of the host key."""
    lines = [
        f"Host {alias}",
        "  HostName 127.0.0.1",
        f"  Port {port}",
        f"  User {layout.user}",
        f"  IdentityFile {layout.key}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {layout.known_hosts}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
    ]
    return "\n".join([*lines, ""])


def start_file(options: ClusterOptions, layout: Layout) -> str:
    """Text of the file that the login shell reads for every command."""
    lines = []
    if not options.login_python:
        path = f"{layout.root}/login-bin"
        lines.append(f"setenv PATH {path}" if options.login_shell == "tcsh" else f"export PATH={path}")
    if options.banner:
        lines.append(f"echo '{NOISE}'")
    return "\n".join([*lines, ""])
