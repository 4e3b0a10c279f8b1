"""Which cluster a command is about: as an option says, else a profile, else the environment, as runs have it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from dagster_slurm.core.names import digest
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.turns import Turns
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.resources import profile as profiles
from dagster_slurm.resources.connection import from_variables
from dagster_slurm.resources.environment import Variables, default_local_base
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.schedulers.slurm import Slurm
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.folder import private_folder
from dagster_slurm.transport.ssh.login import settings_for
from dagster_slurm.transport.ssh.settings import SSHSettings
from dagster_slurm.transport.ssh.transport import SSHTransport

HERE, LOCAL = "here", "local"
_BASE = "~/dagster-slurm"
_PREFIX = "SLURM_EDGE_NODE_"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def cluster_options(command: _Command) -> _Command:
    """Add the options that say which cluster is meant."""
    named = "Its name, user@host, or an alias of ~/.ssh/config; else the profile or the environment says. "
    host = named + f'"{HERE}": this is a login node. "{LOCAL}": the runs of local mode.'
    for option in (
        click.option("--base", default=None, help="The folder with runs there: remote_base of SlurmResource."),
        click.option("--profile", default=None, help=f"A site profile; else {profiles.VARIABLE} names one."),
        click.option("-H", "--host", default=None, help=host, shell_complete=complete_host),
    ):
        command = option(command)
    return command


@contextmanager
def opened(host: str | None, profile: str | None, base: str | None) -> Generator[Target]:
    """Yield the cluster that is meant; its channel ends with the block.

    Raises:
        ConfigurationError: nobody says which.
    """
    settings, known = said(host, profile)
    target = to_target(settings, base or _folder(known)) if host != LOCAL else _local(base)
    try:
        yield target
    finally:
        target.host.close()


def environments(host: str | None, profile: str | None) -> str:
    """Return the folder with environments, as a template that the cluster fills in.

    Raises:
        ConfigurationError: nobody says which cluster is meant.
    """
    if host == LOCAL:
        return f"{default_local_base()}/envs"
    named = profile or os.environ.get(profiles.VARIABLE, "").strip()
    of_profile = profiles.read(named, _variable).get("env_base") if named and host is None else None
    return str(of_profile or f"{_folder(said(host, profile)[1])}/envs")


def said(host: str | None, profile: str | None) -> tuple[SSHSettings | None, str | None]:
    """Return how to reach the cluster (None: it is here), and the folder with runs, if anything names it."""
    if host is not None:
        return (None if host in (HERE, LOCAL) else settings_for(host)), None
    named = profile or os.environ.get(profiles.VARIABLE, "").strip()
    if Variables(_PREFIX).text("HOST") and not profile:
        fields = profiles.read(named, _variable) if named else {}
        return _settings({**from_variables(_PREFIX), "password": Variables(_PREFIX).text("PASSWORD")}), _base(fields)
    if named:
        fields = profiles.read(named, _variable)
        ssh: dict[str, Any] | None = fields.get("ssh")
        python = str(fields.get("remote_python") or "python3")
        return (_settings({**ssh, "remote_python": python}) if ssh else None), _base(fields)
    raise ConfigurationError(
        "it is not said which cluster is meant",
        hint=f"Give --host, or set {profiles.VARIABLE} or {_PREFIX}HOST as for Dagster.",
    )


def to_target(settings: SSHSettings | None, base: str) -> Target:
    """Return a cluster; ``None``: this machine is its login node."""
    scheduler = Slurm()
    if settings is None:
        return Target(Host(LocalTransport(), scheduler), scheduler, base)
    transport = SSHTransport(settings)
    turns = Turns(private_folder() / f"turns-{digest(transport.key)[:12]}")
    return Target(Host(transport, scheduler, turns), scheduler, base)


def _local(base: str | None) -> Target:
    scheduler = Direct()
    return Target(Host(LocalTransport(), scheduler), scheduler, base or default_local_base())


def _folder(known: str | None) -> str:
    return known or Variables("SLURM_").text("DEPLOYMENT_BASE_PATH") or _BASE


def _base(fields: dict[str, Any]) -> str | None:
    base = fields.get("remote_base")
    return None if base is None else str(base)


def _settings(fields: dict[str, Any]) -> SSHSettings:
    try:
        fields["extra_opts"] = tuple(fields.get("extra_opts", ()))
        return SSHSettings(**fields)
    except TypeError as error:
        raise ConfigurationError(f"a setting of the connection is not known: {error}") from None


def _variable(name: str) -> str:
    if name not in os.environ:
        raise ConfigurationError(f"the environment variable {name} is not set", hint="The profile refers to it.")
    return os.environ[name]


def complete_host(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the aliases of ~/.ssh/config, for a shell's completion."""
    path = os.path.expanduser("~/.ssh/config")  # noqa: PTH111 - this runs at each press of the tab key
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - see above
            lines = [line.split() for line in file]
    except (OSError, UnicodeDecodeError):
        return []
    names = [name for words in lines if words[:1] and words[0].lower() == "host" for name in words[1:]]
    return sorted(name for name in names if name.startswith(incomplete) and not set("*?!") & set(name))
