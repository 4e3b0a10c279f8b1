"""``dagster-slurm env list|gc|push``: the Python environments on a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dagster_slurm.engine.host import Host
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.progress import megabytes
from dagster_slurm.environments.uv import UvEnvironment
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.schedulers.slurm import Slurm
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.login import settings_for
from dagster_slurm.transport.ssh.transport import SSHTransport

_DAY = 86400.0
_HERE = "here"

_host = click.argument("host")
_env_base = click.option(
    "--env-base",
    default="~/dagster-slurm/envs",
    show_default=True,
    help="Folder with environments there: env_base of SlurmResource, else envs in its remote_base.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def env() -> None:
    """Python environments on a cluster.

    HOST is what Dagster was told: a name, user@host, or an alias of ~/.ssh/config; "here" is this machine.
    """


@env.command("list")
@_host
@_env_base
@_as_json
def list_environments(host: str, env_base: str, *, as_json: bool) -> None:
    """Show the environments on HOST, the last used first."""
    with _site(host, env_base) as site:
        answer, _ = site.agent.request("environments", base=site.base)
    found: list[dict[str, Any]] = answer["environments"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for item in found:
        click.echo(_line(item))
    click.echo(f"{len(found)} environments, {megabytes(sum(item.get('bytes', 0) for item in found))}")


@env.command()
@_host
@_env_base
@click.option("--older-than", type=float, default=30.0, show_default=True, help="Days since the last use.")
@click.option("--max-gb", type=float, default=None, help="Remove those used longest ago until so many GB are left.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
def gc(host: str, env_base: str, older_than: float, max_gb: float | None, *, dry_run: bool) -> None:
    """Remove environments on HOST that were not used for long, and packages that none of the others needs.

    An environment of a run that waits or goes on is never removed, nor is one that another account built.
    """
    most = 1e18 if max_gb is None else max_gb * 1e9
    with _site(host, env_base) as site:
        answer, _ = site.agent.request(
            "clean_environments", base=site.base, older=older_than * _DAY, most=most, dry=dry_run
        )
    for item in answer["removed"]:
        click.echo(f"{'would remove' if dry_run else 'removed'}  {_line(item)}")
    freed = sum(item.get("bytes", 0) for item in answer["removed"])
    click.echo(
        f"{len(answer['removed'])} environments ({megabytes(freed)}) and {megabytes(answer['packages'])} of packages; "
        f"{len(answer['kept'])} environments kept"
    )


@env.command()
@_host
@_env_base
@click.option("--project", default=None, help="Folder with uv.lock, a requirements file, or pylock.toml.")
@click.option("--python", default=None, help="Python there: 3.11, a name or a path.")
@click.option("--group", "groups", multiple=True, help="Dependency group to include; may be repeated.")
@click.option("--extra", "extras", multiple=True, help="Optional dependencies to include; may be repeated.")
@click.option("--prelude", multiple=True, help="Shell line before everything there (module load ...); may be repeated.")
@click.option("--remote-python", default="python3", show_default=True, help="The Python of SlurmResource.")
@click.option("--force", is_flag=True, help="Build it anew.")
def push(
    *,
    host: str,
    env_base: str,
    project: str | None,
    python: str | None,
    groups: tuple[str, ...],
    extras: tuple[str, ...],
    prelude: tuple[str, ...],
    remote_python: str,
    force: bool,
) -> None:
    """Build the project's environment on HOST, and print path, key and platform as JSON.

    The path is one for pre_deployed_env_path: CI pushes, and runs only use what is there.
    """
    with _site(host, env_base, prelude, remote_python) as site:
        wanted = UvEnvironment(project=project, python=python, groups=groups, extras=extras)
        packed = wanted.prepare(site)
        packed.ensure(lambda text: click.echo(text, err=True), force=force)
    facts = {"path": packed.place(), "key": packed.key(), "platform": str(packed.python), "python": packed.python.path}
    click.echo(json.dumps(facts, indent=2))


@contextmanager
def _site(name: str, env_base: str, prelude: tuple[str, ...] = (), python: str = "python3") -> Generator[Site]:
    transport = LocalTransport() if name == _HERE else SSHTransport(settings_for(name))
    host = Host(transport, Slurm())
    try:
        base = host.hello(env_base)["paths"][env_base]
        if base is None:
            raise ConfigurationError(f"--env-base {env_base} has a variable that is not set on {host.name}")
        yield Site(agent=host, base=str(base), prelude=prelude, python=python, beside=Path.cwd())
    finally:
        host.close()


def _line(item: dict[str, Any]) -> str:
    days = (time.time() - item["used"]) / _DAY
    state = "in use" if item["in_use"] else "damaged" if not item["whole"] else f"used {days:.0f} days ago"
    if item["owner"]:
        state = f"of {item['owner']}"
    size = megabytes(item.get("bytes", 0))
    packages, source = item.get("packages", "?"), item.get("source", "")
    return f"{item['key'][:12]}  {size:>10}  {packages:>4} packages  {state:<18}  {source}"
