"""How to reach the cluster's login node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, field_validator

from dagster_slurm.errors import ConfigurationError
from dagster_slurm.resources import secret
from dagster_slurm.resources.connection import from_variables
from dagster_slurm.resources.environment import Variables
from dagster_slurm.resources.known import KnownFields
from dagster_slurm.resources.variables import filled_in
from dagster_slurm.transport.ssh.settings import SSHSettings


class SSHConnectionResource(KnownFields, dg.ConfigurableResource[Any]):
    """A login node, reached by the system's OpenSSH. ``host`` is enough: the rest may come from ``~/.ssh/config``."""

    host: str = Field(description="Name, address, or alias of ~/.ssh/config.")
    port: int | None = Field(default=None, description="Port; None leaves it to ~/.ssh/config.")
    user: str | None = Field(default=None, description="User there; None leaves it to ~/.ssh/config.")
    key_path: str | None = Field(default=None, description="Private key; if given, no other key is offered.")
    password: str | None = Field(
        default=None,
        repr=False,
        description="Password, given to ssh once when the connection is opened. Use dg.EnvVar for it.",
        json_schema_extra={"dagster__is_secret": True},
    )
    jump_host: str | None = Field(default=None, description="[user@]host[:port] to go through, as in ssh -J.")
    force_tty: bool = Field(default=False, description="Run in a terminal there: for sites that demand one.")
    post_login_command: str | None = Field(
        default=None,
        description='A command on the login node; {cmd} in it stands for our program: "ssh inner {cmd}".',
    )
    extra_opts: list[str] = Field(default=[], description='Further arguments of ssh: ["-o", "Compression=yes"].')
    host_key_checking: bool = Field(
        default=True, description="Refuse hosts that are not in known_hosts. False takes down a key never seen before."
    )
    known_hosts_file: str | None = Field(default=None, description="Instead of ~/.ssh/known_hosts.")
    config_file: str | None = Field(default=None, description="Instead of ~/.ssh/config (ssh -F).")
    batch_mode: bool = Field(default=False, description="Never ask for anything: keys, agents and certificates only.")
    max_logins: int = Field(default=1, description="Connections at most, one beside the other.")
    connect_timeout: int = Field(default=15, description="Seconds for reaching the host.")

    @field_validator("password")
    @classmethod
    def _hide(cls, password: str | None) -> str | None:
        """Keep a password out of what Dagster shows and stores of a resource's configuration."""
        return password if password is None or isinstance(password, dg.EnvVar) else secret.hide(password)

    @field_validator("jump_host", mode="before")
    @classmethod
    def _spelled(cls, jump: Any) -> Any:
        """Take a connection, as in dagster-slurm 1.x, for its address."""
        if not isinstance(jump, SSHConnectionResource):
            return jump
        if jump.password is not None or jump.key_path is not None:
            raise ConfigurationError(
                f"jump_host: {jump.host} has a key or a password of its own",
                hint=f"Say so in ~/.ssh/config (Host {jump.host}, IdentityFile ...), and write "
                f"jump_host={_address(jump)!r}.",
            )
        return _address(jump)

    @classmethod
    def from_env(cls, prefix: str = "SLURM_EDGE_NODE_") -> SSHConnectionResource:
        """Read the settings from variables such as ``SLURM_EDGE_NODE_HOST``, ``_PORT``, ``_USER``, ``_KEY_PATH``.

        A trailing underscore of the prefix is optional, ``_KEY`` is another name for ``_KEY_PATH``, blank means absent.
        The password is not read here: the resource refers to its variable.

        Raises:
            ConfigurationError: no host is set, or a value cannot be understood.
        """
        password = Variables(prefix).name("PASSWORD")
        return cls(**from_variables(prefix), password=dg.EnvVar(password) if password else None)

    def settings(self, remote_python: str = "python3") -> SSHSettings:
        """Return what the transport is told.

        Raises:
            ConfigurationError: a value is not usable.
        """
        given = filled_in(self)
        if given.key_path is not None:
            _check_key(given.key_path)
        return SSHSettings(
            host=given.host,
            port=given.port,
            user=given.user,
            key_path=given.key_path,
            password=secret.reveal(given.password),
            jump_host=given.jump_host,
            force_tty=given.force_tty,
            post_login_command=given.post_login_command,
            extra_opts=tuple(given.extra_opts),
            host_key_checking=given.host_key_checking,
            known_hosts_file=given.known_hosts_file,
            config_file=given.config_file,
            batch_mode=given.batch_mode,
            max_logins=given.max_logins,
            connect_timeout=given.connect_timeout,
            remote_python=remote_python,
        )


def _address(ssh: SSHConnectionResource) -> str:
    user = f"{ssh.user}@" if ssh.user else ""
    return f"{user}{ssh.host}{f':{ssh.port}' if ssh.port else ''}"


def _check_key(path: str) -> None:
    """Refuse what ssh would pass over in silence, to say "permission denied" later."""
    if not set("%$") & set(path) and not Path(path).expanduser().exists():
        raise ConfigurationError(
            f"key_path={path!r}: there is no such file on this machine",
            hint="Name a private key, or leave it out: ~/.ssh/config may name one.",
        )
