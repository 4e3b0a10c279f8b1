"""``dagster-slurm env list|gc|push``: the Python environments on a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dagster_slurm.cli import place
from dagster_slurm.environments.choice import AutoEnvironment
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.pixi import PixiEnvironment
from dagster_slurm.environments.progress import megabytes
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import ConfigurationError

_DAY = 86400.0

_host = click.argument("host", required=False)
_profile = click.option("--profile", default=None, help="A site profile, where no HOST is named.")
_env_base = click.option(
    "--env-base",
    default=None,
    help="Folder with environments there: env_base of SlurmResource; else the profile's, else envs in its remote_base, "
    "which is ~/dagster-slurm where nothing is said.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def env() -> None:
    """Python environments on a cluster.

    HOST is what Dagster was told: a name, user@host, or an alias of ~/.ssh/config; "here" is this machine. Without it,
    SLURM_EDGE_NODE_HOST and the like count, or a site profile, as they do for Dagster.
    """


@env.command("list")
@_host
@_profile
@_env_base
@_as_json
def list_environments(host: str | None, profile: str | None, env_base: str | None, *, as_json: bool) -> None:
    """Show the environments on HOST, the last used first."""
    with _site(host, profile, env_base) as site:
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
@_profile
@_env_base
@click.option("--older-than", type=float, default=30.0, show_default=True, help="Days since the last use.")
@click.option("--max-gb", type=float, default=None, help="Remove those used longest ago until so many GB are left.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
def gc(
    *,
    host: str | None,
    profile: str | None,
    env_base: str | None,
    older_than: float,
    max_gb: float | None,
    dry_run: bool,
) -> None:
    """Remove environments on HOST that were not used for long, and packages that none of the others needs.

    An environment of a run that waits or goes on is never removed, nor is one that another account built.
    """
    most = 1e18 if max_gb is None else max_gb * 1e9
    with _site(host, profile, env_base) as site:
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
@_profile
@_env_base
@click.option("--project", default=None, help="Folder with uv.lock or pixi.lock, a requirements file, or pylock.toml.")
@click.option("--python", default=None, help="Python there: 3.11, a name or a path. For uv.")
@click.option("--group", "groups", multiple=True, help="Dependency group to include; may be repeated. For uv.")
@click.option("--extra", "extras", multiple=True, help="Optional dependencies to include; may be repeated. For uv.")
@click.option("--environment", "name", default=None, help="Environment of pixi.lock; else the default one.")
@click.option("--platform", default=None, help="As pixi writes it, linux-64; else that of HOST. For pixi.")
@click.option("--prelude", multiple=True, help="Shell line before everything there (module load ...); may be repeated.")
@click.option("--remote-python", default="python3", show_default=True, help="The Python of SlurmResource.")
@click.option("--force", is_flag=True, help="Build it anew.")
def push(
    *,
    host: str | None,
    profile: str | None,
    env_base: str | None,
    project: str | None,
    python: str | None,
    groups: tuple[str, ...],
    extras: tuple[str, ...],
    name: str | None,
    platform: str | None,
    prelude: tuple[str, ...],
    remote_python: str,
    force: bool,
) -> None:
    """Build the project's environment on HOST, and print path, key and platform as JSON.

    pixi.lock or uv.lock decides, as for environment="auto". The path is one for pre_deployed_env_path: CI pushes, and
    runs only use what is there.
    """
    with _site(host, profile, env_base, prelude, remote_python) as site:
        with_uv = UvEnvironment(project=project, python=python, groups=groups, extras=extras)
        packed = _chosen(site, with_uv, name, platform).prepare(site)
        packed.ensure(lambda text: click.echo(text, err=True), force=force)
    if isinstance(packed, PackedUv):
        facts = {"platform": str(packed.python), "python": packed.python.path}
    else:
        facts = {"platform": packed.platform, "python": f"{packed.place()}/env/bin/python"}
    click.echo(json.dumps({"path": packed.place(), "key": packed.key(), **facts}, indent=2))


def _chosen(
    site: Site, with_uv: UvEnvironment, name: str | None, platform: str | None
) -> UvEnvironment | PixiEnvironment:
    """Return what the options are for, else what the project's files say."""
    folder = Path(with_uv.project or ".").resolve()
    for_uv = bool(with_uv.python or with_uv.groups or with_uv.extras) or folder.is_file()
    for_pixi = bool(name or platform)
    if for_uv and for_pixi:
        raise ConfigurationError(
            "--environment and --platform are for pixi.lock; --python, --group, --extra and files are for uv",
            hint="Leave those of one kind out.",
        )
    if not for_uv:
        found, _ = AutoEnvironment().choose(replace(site, beside=folder, cwd=folder))
        if for_pixi and not isinstance(found, PixiEnvironment):
            found = PixiEnvironment(project=folder)
        if isinstance(found, PixiEnvironment):
            return replace(found, name=name or found.name, platform=platform or found.platform)
        if isinstance(found, UvEnvironment):
            return found
    return with_uv


@contextmanager
def _site(
    named: str | None, profile: str | None, env_base: str | None, prelude: tuple[str, ...] = (), python: str = "python3"
) -> Generator[Site]:
    folder = env_base or place.environments(named, profile)
    with place.opened(named, profile, None) as target:
        base = target.host.hello(folder)["paths"][folder]
        if base is None:
            raise ConfigurationError(f"--env-base {folder} has a variable that is not set on {target.host.name}")
        yield Site(agent=target.host, base=str(base), prelude=prelude, python=python, beside=Path.cwd())


def _line(item: dict[str, Any]) -> str:
    days = (time.time() - item["used"]) / _DAY
    state = "in use" if item["in_use"] else "damaged" if not item["whole"] else f"used {days:.0f} days ago"
    if item["owner"]:
        state = f"of {item['owner']}"
    size = megabytes(item.get("bytes", 0))
    packages, source = item.get("packages", "?"), item.get("source", "")
    return f"{item['key'][:12]}  {size:>10}  {packages:>4} packages  {state:<18}  {source}"
