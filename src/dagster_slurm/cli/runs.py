"""``dagster-slurm runs gc``: removes run directories whose time is over."""

from __future__ import annotations

import json

import click

from dagster_slurm.cli.found import base_of
from dagster_slurm.cli.place import cluster_options, opened

_DAY = 86400.0


@click.group()
def runs() -> None:
    """Run directories on a cluster."""


@runs.command()
@cluster_options
@click.option("--older-than", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Days, of successes.")
@click.option(
    "--failures-older-than", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Days, of all others."
)
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(
    *,
    host: str | None,
    profile: str | None,
    base: str | None,
    older_than: float,
    failures_older_than: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the directories of old runs, and code that none needs any more.

    The same happens by itself once a day, when a job is submitted; see keep_runs_days of SlurmResource. A job that
    the queue still lists keeps its directory, unless Dagster has taken over its result.
    """
    keep = {"success": older_than * _DAY, "failure": failures_older_than * _DAY}
    with opened(host, profile, base) as target:
        answer, _ = target.host.request(
            "clean_runs", base=base_of(target), keep=keep, dry=dry_run, queue=target.scheduler.asks
        )
    removed: list[str] = answer["removed"]
    if as_json:
        click.echo(json.dumps({"removed": removed, "dry_run": dry_run}, indent=2))
        return
    for directory in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'}  {directory}")
    click.echo(f"{len(removed)} run directories")
