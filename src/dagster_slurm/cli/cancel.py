"""``dagster-slurm cancel``: end a job, or all jobs of a Dagster run."""

from __future__ import annotations

import json

import click

from dagster_slurm.cli.found import meant, one_meant
from dagster_slurm.cli.place import cluster_options, opened
from dagster_slurm.engine.overview import end


@click.command()
@cluster_options
@click.argument("job", required=False)
@click.option("--run", default=None, help="A Dagster run's id, or its beginning: all jobs of that run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cancel(
    *, host: str | None, profile: str | None, base: str | None, job: str | None, run: str | None, as_json: bool
) -> None:
    """Cancel JOB (an id, a job's name, or an asset's), or all jobs of a Dagster run.

    A step that waits for the job fails as cancelled, and is not retried.
    """
    if (job is None) == (run is None):
        raise click.UsageError("Give either JOB or --run.")
    with opened(host, profile, base) as target:
        if run is not None:
            found = [seen for seen in meant(target, run, ended=False) if seen.run.startswith(run)]
        else:
            found = [one_meant(target, str(job), ended=False)]
        ended = {seen.job or seen.step: end(target.host, target.scheduler, seen) for seen in found}
    if as_json:
        click.echo(json.dumps({"cancelled": sorted(ended)}))
        return
    for seen in found:
        click.echo(f"Cancelled {seen.job or 'the submission'} ({seen.step}, run {seen.run[:8]}).")
