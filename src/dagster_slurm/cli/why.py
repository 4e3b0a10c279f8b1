"""``dagster-slurm why``: why a job does not start, in words."""

from __future__ import annotations

import json

import click

from dagster_slurm.cli.found import one_meant
from dagster_slurm.cli.jobs import duration
from dagster_slurm.cli.place import cluster_options, opened
from dagster_slurm.engine.overview import Seen
from dagster_slurm.engine.target import Target
from dagster_slurm.schedulers.slurm_reasons import described, in_words, line_before, questions


@click.command()
@cluster_options
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def why(*, host: str | None, profile: str | None, base: str | None, job: str, as_json: bool) -> None:
    """Say why JOB (an id, a job's name, or an asset's) does not start, and what stands before it."""
    with opened(host, profile, base) as target:
        seen = one_meant(target, job, fresh=True)
        means, remedy, more = _explained(target, seen)
    if as_json:
        said = {"job": seen.job, "state": seen.state, "reason": seen.reason, "means": means, "remedy": remedy}
        click.echo(json.dumps({**said, "expected_start": seen.expected_start, "more": more}, indent=2))
        return
    click.echo(f"Job {seen.job or '-'} ({seen.step}, run {seen.run[:8]}) {means}.")
    for sentence in more:
        click.echo(sentence)
    if seen.expected_start and seen.state == "pending":
        click.echo(f"Slurm expects it to start at {seen.expected_start} (the cluster's time).")
    if remedy:
        click.echo(f"What to do: {remedy}")


def _explained(target: Target, seen: Seen) -> tuple[str, str, list[str]]:
    if seen.ended:
        ending = "ended well" if seen.state == "success" else f"has ended: {seen.state.replace('_', ' ')}"
        return ending, "" if seen.state == "success" else "See `dagster-slurm logs JOB` and the run in Dagster.", []
    if seen.state == "pending" and target.scheduler.asks:
        means, remedy = in_words(seen.reason)
        asked = questions(seen.job)
        answer, _ = target.host.request("survey", commands=asked, essential=list(asked))
        line = line_before({name: str(said["out"]) for name, said in answer["commands"].items()})
        reason = f" ({seen.reason})" if seen.reason else ""
        more = list(described(line)) if line is not None else []
        return f"waits since {duration(seen.since)}: {means}{reason}", remedy.replace("JOB", seen.job), more
    means = {
        "running": f"runs on {seen.nodes}" if seen.nodes else "runs",
        "ending": "is ending: its last word is not known yet",
        "submitted": f"was submitted {duration(seen.since)} ago; the queue was last looked at before that",
        "not submitted": "was not submitted yet: a limit may be reached, or Dagster is gone",
        "gone": "is not in the queue any more, and left no word of an end",
    }.get(seen.state, f"is {seen.state}")
    again = "Materialize the asset again in Dagster: it takes up what is there."
    return means, again if seen.state in ("gone", "not submitted") else "", []
