"""``dagster-slurm jobs``: what waits and runs, and for which asset."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict

import click

from dagster_slurm.cli.found import jobs_of
from dagster_slurm.cli.place import cluster_options, opened
from dagster_slurm.engine.overview import Seen

#: the queue is looked at once in so many seconds, whoever asks; more often nothing new is to be seen
_EVERY = 30.0
_COLUMNS = ("JOB", "STATE", "ASSET", "RUN", "SINCE", "WHERE, OR WHY NOT")
_COLORS = {"running": "green", "pending": "yellow", "submitted": "yellow", "success": "green"}


@click.command()
@cluster_options
@click.option("--all", "everything", is_flag=True, help="Also those that Dagster has seen to their end.")
@click.option("--limit", default=100, show_default=True, help="How many at most, the newest first.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(min=1), default=_EVERY, show_default=True, help="Seconds between, with --watch."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def jobs(
    *,
    host: str | None,
    profile: str | None,
    base: str | None,
    everything: bool,
    limit: int,
    watch: bool,
    every: float,
    as_json: bool,
) -> None:
    """Show what waits and runs, and for which asset and Dagster run.

    The queue is asked at most twice a minute, together with Dagster's own processes.
    """
    # Ctrl-C is the way to end it, no failure
    with opened(host, profile, base) as target, suppress(KeyboardInterrupt) if watch else nullcontext():
        while True:
            found = jobs_of(target, everything=everything, most=limit)
            if as_json:
                click.echo(json.dumps([asdict(seen) for seen in found], indent=None if watch else 2))
            else:
                if watch:
                    click.clear()
                click.echo("\n".join(table(found)) if found else f"No jobs below {target.base} on {target.host.name}.")
            if not watch:
                return
            time.sleep(every)


def table(found: Sequence[Seen]) -> list[str]:
    """Return the lines of a table."""
    rows = [_COLUMNS, *(_row(seen) for seen in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[1] = click.style(cells[1], fg=_COLORS.get(row[1])) if row is not _COLUMNS else cells[1]
        lines.append("  ".join(cells).rstrip())
    return lines


def _row(seen: Seen) -> tuple[str, ...]:
    why = seen.reason + (f", expected at {seen.expected_start}" if seen.expected_start else "")
    again = f" (start {seen.restart + 1})" if seen.restart else ""
    return (seen.job or "-", seen.state, seen.step, seen.run[:8], duration(seen.since), (why or seen.nodes) + again)


def duration(seconds: float) -> str:
    """Return a time span in two units at most."""
    whole = int(seconds)
    for unit, size, part, smaller in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {part}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"
