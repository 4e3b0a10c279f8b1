"""``dagster-slurm logs``: what a job printed, also while it goes on."""

from __future__ import annotations

import sys
import time

import click

from dagster_slurm.cli.found import one_meant
from dagster_slurm.cli.place import cluster_options, opened
from dagster_slurm.core.observations import Began, Event, Waiting
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.overview import Seen
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import HostError, SubmissionDelayed

#: how much of the end of each stream is shown, in bytes
_TAIL = 256 * 1024


class _Screen:
    """Writes what a job says to the terminal."""

    def output(self, stream: str, data: bytes) -> None:
        _write(data, err=stream == "stderr")

    def messages(self, restart: int, data: bytes) -> None:
        """They are for Dagster."""

    def event(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self.tell(f"The job waits in the queue: {event.reason or 'no reason given'}")
        elif isinstance(event, Began) and event.start.restart:
            self.tell(f"Slurm started the job again (restart {event.start.restart})")

    def absent(self, error: HostError | None) -> None:
        self.tell("The connection is back" if error is None else error.message)

    def delayed(self, error: SubmissionDelayed) -> None:
        self.tell(error.message)

    def tell(self, text: str) -> None:
        click.echo(f"-- {text}", err=True)


@click.command()
@cluster_options
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends; ends with 1 if it does not end well.")
@click.option("-n", "--lines", type=click.IntRange(min=1), default=None, help="Only the last lines of each stream.")
@click.option("--slurm", "scheduler_log", is_flag=True, help="What Slurm itself wrote about the job.")
def logs(
    *,
    host: str | None,
    profile: str | None,
    base: str | None,
    job: str,
    follow: bool,
    lines: int | None,
    scheduler_log: bool,
) -> None:
    """Show what JOB (an id, a job's name, or an asset's) printed: its output here, its errors on standard error."""
    with opened(host, profile, base) as target:
        seen = one_meant(target, job)
        if scheduler_log:
            _show(target, seen, "slurm.log", lines, err=False)
        elif follow and not seen.ended:
            _follow(target, seen)
        else:
            for stream in ("stdout", "stderr"):
                _show(target, seen, f"{stream}.{seen.restart}", lines, err=stream == "stderr")
            if not seen.nodes:
                why = f"{seen.state}{f': {seen.reason}' if seen.reason else ''}"
                click.echo(f"-- Job {seen.job or seen.step} has not begun ({why}).", err=True)


def _show(target: Target, seen: Seen, file: str, lines: int | None, *, err: bool) -> None:
    answer, data = target.host.request("tail", dir=seen.directory, file=file, bytes=_TAIL)
    if lines is not None:
        data = b"".join(data.splitlines(keepends=True)[-lines:])
    elif int(answer["size"]) > len(data):
        click.echo(f"-- The last {len(data)} of {answer['size']} bytes of {seen.directory}/{file}:", err=True)
    _write(data, err=err)


def _write(data: bytes, *, err: bool) -> None:
    """Hand bytes on as they are: a piece may end in the middle of a letter."""
    stream = sys.stderr if err else sys.stdout
    stream.flush()
    stream.buffer.write(data)
    stream.buffer.flush()


def _follow(target: Target, seen: Seen) -> None:
    screen, paths = _Screen(), RunPaths(seen.directory)
    # what follows needs to know where the run lies; what it is made of is not asked
    spec = RunSpec(key=LaunchKey(seen.run, seen.step, seen.call), paths=paths, command=())
    launch = Launch(spec, str(target.base), b"")
    job = {**(seen.submitted or {}), "id": seen.job}
    submitted = Submitted(job, adopted=True, doubtful=False, answered=time.monotonic() - seen.since)
    try:
        verdict = Following(target.host, target.scheduler, launch, submitted, screen).verdict()
    except KeyboardInterrupt:
        screen.tell("The job runs on.")
        sys.exit(130)
    screen.tell(f"Job {seen.job} ended: {verdict.cause} ({verdict.evidence})")
    if not verdict.success:
        sys.exit(1)
