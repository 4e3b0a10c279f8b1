"""The way over jump hosts, as a command of our own. Pure.

What ssh makes of ``-J`` has two faults for something that nobody watches: without a human it sends empty passwords to
the jump host, each of them a failed login; and beside ControlPersist its words go to nobody, so that a refusal there
looks like a broken line.
"""

from __future__ import annotations

import re
import shlex

from dagster_slurm.transport.ssh.settings import SSHSettings

_HOP = re.compile(r"(?:(?P<user>.+)@)?(?:\[(?P<address>[^]]+)\]|(?P<host>[^:]+))(?::(?P<port>\d+))?")


def quoted(value: str) -> str:
    """Quote a value for ssh's configuration syntax."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quoted_path(value: str) -> str:
    """Quote a path for an option in which ssh expands ``%`` and splits at blanks."""
    return quoted(value.replace("%", "%%"))


def proxy_command(
    settings: SSHSettings, jump_host: str | None, user_command: str | None, words: str, *, human: bool
) -> str | None:
    """Return a ProxyCommand for the same way as ssh would go, for ``/bin/sh``; None for a straight one.

    Args:
        settings: of the host.
        jump_host: ssh's ProxyJump for it.
        user_command: the user's own ProxyCommand for it.
        words: the file that standard error of those on the way goes to.
        human: somebody is there to be asked.
    """
    if jump_host is not None:
        command = _over(settings, jump_host.split(","), human=human)
    elif user_command is not None:
        command = user_command
    else:
        return None
    # ssh itself leaves the terminal once it is logged in; those on the way stay, and must not end with it.
    stay = "trap '' HUP; " if human else ""
    # ssh puts an "exec " before all this, which makes that one a mere redirection.
    return f"2>>{_escaped(shlex.quote(words))}; {stay}exec {command}"


def _over(settings: SSHSettings, hops: list[str], *, human: bool) -> str:
    """Return the command that leads over the hops, with ``%h`` and ``%p`` for the end of the way."""
    *before, last = hops
    options = [f"ConnectTimeout={settings.connect_timeout}", "ClearAllForwardings=yes", "PermitLocalCommand=no"]
    options += ["RemoteCommand=none", f"StrictHostKeyChecking={_strictness(settings, human=human)}"]
    if not human:
        options += ["BatchMode=yes", "LogLevel=ERROR"]
    if settings.key_path is not None:
        options.append(f"IdentityFile={quoted_path(settings.key_path)}")
    if settings.known_hosts_file is not None:
        # Beside ~/.ssh/known_hosts, not instead of it.
        options.append(f"GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts {quoted_path(settings.known_hosts_file)}")
    if before:
        options.append(f"ProxyCommand={_over(settings, before, human=human)}")
    argv = ["ssh", *([] if settings.config_file is None else ["-F", settings.config_file])]
    argv += [word for option in options for word in ("-o", option)]
    match = _HOP.fullmatch(last)
    assert match is not None, last  # noqa: S101  # ssh itself printed it
    argv += ["-l", match["user"]] if match["user"] else []
    argv += ["-p", match["port"]] if match["port"] else []
    end = ["--", match["address"] or match["host"]]
    return f"{_escaped(shlex.join(argv))} -W '[%h]:%p' {shlex.join(end)}"


def _strictness(settings: SSHSettings, *, human: bool) -> str:
    if not settings.host_key_checking:
        return "accept-new"
    return "ask" if human else "yes"


def _escaped(text: str) -> str:
    """Protect text from ssh's expansion of ``%``."""
    return text.replace("%", "%%")
