"""Configuration of the login node: sshd, ssh clients, the shell's start files; as text."""

from __future__ import annotations

from pathlib import Path

from testcluster.layout import Layout
from testcluster.options import ClusterOptions

BANNER = "*** Test cluster: authorised use only. ***\n"
NOISE = "Welcome to the login node. Your quota is fine."
START_FILES = {"bash": ".bashrc", "tcsh": ".cshrc", "fish": ".config/fish/config.fish"}

_PUBLIC_KEY, _PASSWORD, _KEYBOARD = "PubkeyAuthentication", "PasswordAuthentication", "KbdInteractiveAuthentication"
_ALLOWED = {
    "any": (_PUBLIC_KEY, _PASSWORD),
    "key": (_PUBLIC_KEY,),
    "password": (_PASSWORD,),
    "keyboard-interactive": (_KEYBOARD,),
    "one-time": (_KEYBOARD,),
}


def asks(options: ClusterOptions) -> bool:
    """Whether a login needs an answer to a prompt."""
    return _PUBLIC_KEY not in _ALLOWED[options.auth]


def uses_pam(options: ClusterOptions) -> bool:
    """Whether sshd asks through PAM; nothing else can prompt."""
    return _KEYBOARD in _ALLOWED[options.auth]


def pam_service(options: ClusterOptions, layout: Layout, check_code: Path) -> str:
    """Text of the file that says how PAM lets the user in."""
    check = "pam_unix.so"
    if options.auth == "one-time":
        check = f"pam_exec.so quiet expose_authtok {check_code} {layout.codes}"
    # Without a second module that says yes nobody may set credentials, and sshd ends.
    permitted = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
    return f"auth required {check}\n{permitted}"


def sshd_config(options: ClusterOptions, layout: Layout, port: int, *, recent: bool) -> str:
    """Text of sshd_config; `recent`: OpenSSH 9.8 or later.

    sshd takes the first value it reads, hence the user's lines come first.
    """
    allowed = _ALLOWED[options.auth]
    lines = [
        *options.sshd_config,
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {layout.etc}/ssh_host_ed25519_key",
        f"PidFile {layout.run}/sshd.own-pid",
        # the state folder may lie in one that everybody may write to (/var/tmp); its own part is root's
        "StrictModes no",
        f"AuthorizedKeysFile {layout.etc}/authorized_keys",
        f"AllowUsers {layout.user}",
        *(f"{method} {'yes' if method in allowed else 'no'}" for method in (_PUBLIC_KEY, _PASSWORD, _KEYBOARD)),
        f"UsePAM {'yes' if uses_pam(options) else 'no'}",
        f"MaxSessions {options.max_sessions}",
        f"MaxStartups {options.max_startups}",
        f"SetEnv SLURM_CONF={layout.slurm_conf}",
        "PrintMotd no",
        "PrintLastLog no",
        "UseDNS no",
        "Subsystem sftp internal-sftp",
    ]
    if recent:
        # An older one locks out nobody, and takes the name of its PAM service from its own.
        lines += ["PerSourcePenalties no", f"PAMServiceName {layout.user}"]
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
    lines: list[str] = []
    if not options.login_python:
        path = f"{layout.root}/login-bin"
        lines.append(f"setenv PATH {path}" if options.login_shell == "tcsh" else f"export PATH={path}")
    if options.banner:
        lines.append(f"echo '{NOISE}'")
    return "\n".join([*lines, ""])
