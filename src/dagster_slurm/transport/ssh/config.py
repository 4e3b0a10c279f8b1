"""What ``ssh -G`` says, and the command lines that we build. Pure."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.ssh.proxy import proxy_command, quoted, quoted_path
from dagster_slurm.transport.ssh.settings import SSHSettings

#: seconds after its last use at which a connection that we opened ends
PERSIST = 60

# Nothing but the session: no forwarding, no command or terminal that the user's configuration asks for.
_BARE = ("-T", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no", "-o", "RemoteCommand=none")


@dataclass(frozen=True)
class Resolved:
    """A host as ssh sees it, after the user's and the system's configuration."""

    user: str
    hostname: str
    port: int
    #: where connections of the user's own are shared, expanded; None if they are not
    control_path: str | None = None
    #: what ssh may call the host when it asks for a password
    hostnames: tuple[str, ...] = ()
    #: seconds between probes of a silent connection; 0 for none
    alive_interval: int = 0
    #: options that concern a session rather than the connection, as ``Name=value``
    session_options: tuple[str, ...] = ()
    known_hosts: str = "~/.ssh/known_hosts"
    jump_host: str | None = None
    proxy_command: str | None = None
    #: 16 hex digits: one shared connection of ours for each
    identity: str = ""
    #: hash of everything that ssh was told
    digest: str = ""


def parse_resolved(output: str) -> Resolved:
    """Read the output of ``ssh -G``."""
    lines = [line.partition(" ")[::2] for line in output.splitlines()]
    first: dict[str, str] = {}
    for name, value in lines:
        first.setdefault(name, value)
    control_path = first.get("controlpath", "none")
    session = [("ForwardAgent", first.get("forwardagent", "no"))]
    session += [("SendEnv", value) for name, value in lines if name == "sendenv"]
    session += [("SetEnv", quoted(value)) for name, value in lines if name == "setenv"]
    who = [first.get(name, "") for name in ("user", "hostname", "port", "proxyjump", "proxycommand", "hostkeyalias")]
    return Resolved(
        user=first["user"],
        hostname=first["hostname"],
        port=int(first["port"]),
        control_path=None if control_path == "none" else control_path,
        hostnames=tuple(first[name] for name in ("hostname", "hostkeyalias") if name in first),
        alive_interval=int(first.get("serveraliveinterval", "0")),
        session_options=tuple(f"{name}={value}" for name, value in session),
        known_hosts=first.get("userknownhostsfile", "~/.ssh/known_hosts").split(" ")[0],
        jump_host=first.get("proxyjump"),
        proxy_command=first.get("proxycommand"),
        identity=_hash("\n".join(who))[:16],
        digest=_hash(output),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _connection(settings: SSHSettings) -> list[str]:
    """Return the arguments that say where to connect, and as whom."""
    args: list[str] = []
    if settings.config_file is not None:
        args += ["-F", settings.config_file]
    args += ["-o", f"StrictHostKeyChecking={'yes' if settings.host_key_checking else 'accept-new'}"]
    args += ["-o", f"ConnectTimeout={settings.connect_timeout}"]
    if settings.known_hosts_file is not None:
        args += ["-o", f"UserKnownHostsFile={quoted_path(settings.known_hosts_file)}"]
    if settings.port is not None:
        args += ["-p", str(settings.port)]
    if settings.user is not None:
        args += ["-l", settings.user]
    if settings.key_path is not None:
        args += ["-o", f"IdentityFile={quoted_path(settings.key_path)}", "-o", "IdentitiesOnly=yes"]
    return [*args, *settings.extra_opts]


def resolve_argv(settings: SSHSettings) -> list[str]:
    """Return the command that says how ssh understands the settings."""
    jump = [] if settings.jump_host is None else ["-J", settings.jump_host]
    return ["ssh", "-G", *jump, *_connection(settings), "--", settings.host]


def check_argv(settings: SSHSettings, control_path: str) -> list[str]:
    """Return the command that succeeds if a connection is shared at ``control_path``."""
    return _control(settings, control_path, "check")


def stop_argv(settings: SSHSettings, control_path: str) -> list[str]:
    """Return the command that ends the connection shared at ``control_path``."""
    return _control(settings, control_path, "exit")


def _control(settings: SSHSettings, control_path: str, command: str) -> list[str]:
    return ["ssh", "-F", "/dev/null", *_socket(control_path), "-O", command, "--", settings.host]


def _socket(control_path: str) -> tuple[str, str]:
    """Name a socket, the path of which ssh would expand once more."""
    return ("-S", control_path.replace("%", "%%"))


def master_argv(settings: SSHSettings, resolved: Resolved, control_path: str, words: str) -> list[str]:
    """Return the command that opens a connection to share, without a human, and goes to the background.

    Args:
        settings: where to.
        resolved: the same, as ssh sees it.
        control_path: where to share it.
        words: a file for what ssh says on jump hosts.
    """
    prompts = ["BatchMode=yes"] if settings.password is None else ["BatchMode=no", "NumberOfPasswordPrompts=1"]
    way = _way(settings, resolved, words, human=False)
    return _master(settings, resolved, control_path, persist=PERSIST, first=[*prompts, "LogLevel=ERROR", *way])


def login_argv(settings: SSHSettings, resolved: Resolved, control_path: str, persist: int) -> list[str]:
    """Return the command that opens a connection to share, asking the human at the terminal."""
    first = ["BatchMode=no", *_way(settings, resolved, "/dev/tty", human=True)]
    if settings.host_key_checking:
        first.append("StrictHostKeyChecking=ask")
    return _master(settings, resolved, control_path, persist=persist, first=first)


def _way(settings: SSHSettings, resolved: Resolved, words: str, *, human: bool) -> list[str]:
    command = proxy_command(settings, resolved.jump_host, resolved.proxy_command, words, human=human)
    return [] if command is None else [f"ProxyCommand={command}"]


def _master(
    settings: SSHSettings, resolved: Resolved, control_path: str, *, persist: int, first: Sequence[str]
) -> list[str]:
    """Return the arguments. Of an option given twice ssh takes the first: what must hold, the user's, what we like."""
    forced = [f"ControlPersist={persist}", "ControlMaster=yes", *first]
    wished = [] if resolved.alive_interval else ["ServerAliveInterval=15", "ServerAliveCountMax=3"]
    return [
        "ssh",
        *("-N", "-f", *_socket(control_path)),
        *_BARE,
        *(word for option in forced for word in ("-o", option)),
        *_connection(settings),
        *(word for option in wished for word in ("-o", option)),
        "--",
        settings.host,
    ]


def client_argv(settings: SSHSettings, resolved: Resolved, control_path: str) -> list[str]:
    """Return the command that starts our program over the connection shared at ``control_path``, or fails at once.

    The user's configuration was read when the connection was resolved; a client reads none, so that nothing in it
    (a ``Match exec``, a ``RemoteCommand``) can slow it down or turn it into something else.
    """
    options = ["ControlMaster=no", "ProxyCommand=false", "BatchMode=yes", "LogLevel=ERROR", *resolved.session_options]
    return [
        "ssh",
        *("-F", "/dev/null", *_socket(control_path)),
        *(("-tt", "-e", "none") if settings.force_tty else ("-T",)),
        *(word for option in options for word in ("-o", option)),
        "--",
        settings.host,
        remote_command(settings),
    ]


def remote_command(settings: SSHSettings) -> str:
    """Return what the login shell on the host runs."""
    command = bootstrap.shell_command(_remote_word(settings.remote_python))
    before = settings.post_login_command
    if before is None:
        return command
    if "{cmd}" in before:
        return before.replace("{cmd}", shlex.quote(command))
    return f"{before.strip().rstrip(';')} && {command}"


def _remote_word(path: str) -> str:
    """Quote a path for the login shell, which may expand a leading ``~/``."""
    if path.startswith("~/"):
        return "~/" + shlex.quote(path[2:])
    return shlex.quote(path)
