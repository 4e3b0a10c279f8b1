"""What the SSH transport is told by the user; checked here, before anything is started."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dagster_slurm.errors import ConfigurationError

# ssh hands host and user to the commands of the user's configuration (ProxyCommand, Match exec), and takes what starts
# with a dash for an option.
_NAME = re.compile(r"[A-Za-z0-9_.:@%+=,\[\]/\\-]+")
_NO_CONTROL_CHARACTERS = re.compile(r"[^\x00-\x1f\x7f]+")
_MAX_PORT = 65_535
# options that make ssh something else than a connection to share; a second -J is an error of its own
_NOT_THE_USERS = ("-G", "-J", "-M", "-N", "-O", "-Q", "-S", "-V", "-W", "-f", "-s")


@dataclass(frozen=True)
class SSHSettings:
    """How to reach a login node. ``host`` alone is enough: the rest may come from ``~/.ssh/config``.

    Raises:
        ConfigurationError: a value is not usable.
    """

    #: name, address, or alias of ``~/.ssh/config``
    host: str
    port: int | None = None
    user: str | None = None
    #: private key; if given, no other key is offered
    key_path: str | None = None
    #: answers the host's first request for a password, once; nothing else is ever answered with it
    password: str | None = field(default=None, repr=False)
    #: ``[user@]host[:port]``, or several separated by commas. It is offered ``key_path`` too; further options for it
    #: come from ``~/.ssh/config``
    jump_host: str | None = None
    #: run in a terminal on the host: for sites that demand one
    force_tty: bool = False
    #: a command of the user's on the host. ``{cmd}`` in it stands for our program as one quoted word
    #: (``ssh inner {cmd}``, ``bash -lc {cmd}``); without it, our program follows if the command succeeds
    post_login_command: str | None = None
    #: further options of ``ssh``, verbatim, for the connection
    extra_opts: tuple[str, ...] = ()
    #: True: a host must be in known_hosts. False: the key of a host never seen is taken down (``accept-new``); even
    #: then one that has changed is refused
    host_key_checking: bool = True
    #: instead of ``~/.ssh/known_hosts``
    known_hosts_file: str | None = None
    #: only what needs no secret typed in: keys, agents, certificates, Kerberos
    batch_mode: bool = False
    #: connections at most, one beside the other. More than one only helps where sshd's MaxSessions is low
    max_logins: int = 1
    #: instead of ``~/.ssh/config`` and the system's (``ssh -F``)
    config_file: str | None = None
    #: Python 3.6 or newer on the host; a name, or a path which may start with ``~/``
    remote_python: str = "python3"
    #: seconds for reaching the host
    connect_timeout: int = 15

    def __post_init__(self) -> None:
        """Refuse what ssh or a shell would take for something else."""
        _name("host", self.host)
        _name("user", self.user)
        for hop in [] if self.jump_host is None else self.jump_host.split(","):
            _name("jump_host", hop)
        for what in ("key_path", "known_hosts_file", "config_file", "remote_python", "post_login_command"):
            _text(what, getattr(self, what))
        if self.remote_python.startswith("-"):
            raise ConfigurationError(f"remote_python may not start with a dash: {self.remote_python!r}")
        if self.port is not None and not 0 < self.port <= _MAX_PORT:
            raise ConfigurationError(f"port must be from 1 to {_MAX_PORT}: {self.port}")
        if self.max_logins < 1 or self.connect_timeout < 1:
            raise ConfigurationError("max_logins and connect_timeout must be at least 1")
        if self.extra_opts and not self.extra_opts[0].startswith("-"):
            raise ConfigurationError(f"extra_opts must be options of ssh: {self.extra_opts[0]!r} starts with no dash")
        if clash := [option for option in self.extra_opts if option[:2] in _NOT_THE_USERS]:
            raise ConfigurationError(
                f"extra_opts may not contain {' '.join(clash)}", hint="jump_host is a field; the others are ours."
            )
        if self.batch_mode and self.password is not None:
            raise ConfigurationError("batch_mode and password exclude each other", hint="Leave one of them out.")
        if self.password is not None and ("\n" in self.password or "\0" in self.password):
            raise ConfigurationError("password contains a line break or a NUL character")

    @property
    def name(self) -> str:
        """What messages call the place."""
        return f"{self.user}@{self.host}" if self.user else self.host


def _name(what: str, value: str | None) -> None:
    if value is not None and (value.startswith("-") or not _NAME.fullmatch(value)):
        raise ConfigurationError(
            f"{what} is not usable: {value!r}",
            hint="Letters, digits and .:@%+=,[]/\\_- are allowed, not starting with a dash.",
        )


def _text(what: str, value: str | None) -> None:
    if value is not None and not _NO_CONTROL_CHARACTERS.fullmatch(value):
        raise ConfigurationError(f"{what} is empty or contains a line break or another control character: {value!r}")
