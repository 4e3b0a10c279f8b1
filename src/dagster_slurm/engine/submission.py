"""Getting a job into being, exactly once: submit it, or adopt the one that exists."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dagster_slurm.core import record as records
from dagster_slurm.engine.answers import LookupUnanswered, NotSubmitted
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.errors import SubmissionDelayed
from dagster_slurm.schedulers.scheduler import Scheduler, SubmitAnswer

_AGAIN_FROM, _AGAIN_TO = 2.0, 60.0


@dataclass(frozen=True)
class Submitted:
    """A job that exists.

    Args:
        job: ``id``, ``cluster``, ``time`` of submission (seconds since the epoch, by the host's clock).
        adopted: it was there before.
        doubtful: there was a submission before this one, by whomever, that may land late.
        answered: when the answer came, in seconds of this machine's monotonic clock.
    """

    job: dict[str, Any]
    adopted: bool
    doubtful: bool
    answered: float

    @property
    def id(self) -> str:
        """The scheduler's id."""
        return str(self.job["id"])

    @property
    def time(self) -> float:
        """When it was submitted, in seconds since the epoch; now, if nobody noted it."""
        return float(self.job.get("time") or time.time())


def submit(host: Host, scheduler: Scheduler, launch: Launch, sink: Sink, *, known: bool = False) -> Submitted:
    """Make sure that the job exists. May be repeated, by any process, at any time.

    Args:
        host: where.
        scheduler: what is spoken there.
        launch: what.
        sink: hears of delays.
        known: the launch was begun before, perhaps by another process: wait for the host without end.

    Raises:
        SubmissionRefused: Slurm will not take it.
        HostError: the host never answered, or refuses us.
        RequestFailed: the run directory cannot be made.
    """
    pause, doubtful = _AGAIN_FROM, False
    while True:
        try:
            return adopted(_once(host, scheduler, launch, sink, patient=known or doubtful), doubtful=doubtful)
        except (NotSubmitted, LookupUnanswered) as error:
            sink.delayed(_delay(host, scheduler, launch, error))  # raises what no repetition will mend
        doubtful = True
        time.sleep(pause)
        pause = min(pause * 2, _AGAIN_TO)


def _once(host: Host, scheduler: Scheduler, launch: Launch, sink: Sink, *, patient: bool) -> dict[str, Any]:
    files = launch.files(scheduler.kind)
    environments = _environments(launch)
    body = b"".join(content for _, _, content in files)
    while True:
        answer, _ = host.request(
            "submit",
            body,
            say=sink.absent,
            patient=patient,
            dir=launch.directory,
            base=launch.base,
            kind=scheduler.kind,
            files=[[file, mode, len(content)] for file, mode, content in files],
            extra=launch.placed,
            needs=list(launch.bundles),
            submit=scheduler.submit(),
            find=scheduler.find(launch.spec.key.job_name),
            no_job=scheduler.no_job,
            keep=launch.keep,
            environments=environments,
            folders=launch.folders,
            unit=dict(launch.unit),
        )
        if "missing" not in answer:
            return answer
        for path in answer["lacking_environments"]:
            launch.environments[path].ensure(sink.tell, force=launch.force_environment)
        environments = _environments(launch, force=False)
        for key in answer["missing"]:
            _send(host, launch, key, sink)


def _environments(launch: Launch, *, force: bool = True) -> list[dict[str, Any]]:
    """Return what the agent is to look for before it submits: nothing of ours, in most environments."""
    force = force and launch.force_environment
    return [{"path": path, "key": found.key(), "force": force} for path, found in launch.environments.items()]


def _send(host: Host, launch: Launch, key: str, sink: Sink) -> None:
    """Send a bundle to the store, piece by piece, so that other frames get through between them."""
    chunks = launch.bundles[key].chunks()
    first, chunk = True, next(chunks, b"")
    while chunk:
        following = next(chunks, b"")
        host.request("put", chunk, key=key, base=launch.base, first=first, last=not following, say=sink.absent)
        first, chunk = False, following


def _delay(
    host: Host, scheduler: Scheduler, launch: Launch, error: NotSubmitted | LookupUnanswered
) -> SubmissionDelayed:
    details = {"host": host.name, "run directory": launch.directory}
    if isinstance(error, LookupUnanswered):
        return SubmissionDelayed(error.message, details=details)
    components = max(len(launch.spec.blocks), 1)
    refusal = scheduler.refusal(SubmitAnswer(error.text, error.exit_code, error.command or "", details, components))
    if isinstance(refusal, SubmissionDelayed):
        return refusal
    raise refusal from None


def adopted(answer: dict[str, Any], *, doubtful: bool) -> Submitted:
    """The job that won the claim is the run, whatever the submit's reply said."""
    record = records.parse(answer["record"])
    winner = answer["claim"] or (record.start.job if record.start else "")
    job: dict[str, Any] = dict(answer["job"]) if answer["job"] else {"id": winner}
    if winner and winner != str(job["id"]):
        job, doubtful = {**job, "id": winner}, True
    return Submitted(job, bool(answer["adopted"]), doubtful or bool(job.get("doubtful")), time.monotonic())


def cancel(host: Host, scheduler: Scheduler, launch: Launch, within: float | None = None) -> list[str]:
    """Ask the scheduler to end the job of a launch; return the ids that were asked for.

    Raises:
        HostError: the host did not answer ``within`` that many seconds.
        RequestFailed: the scheduler did not take it.
    """
    answer, _ = host.request(
        "cancel",
        within=within,
        dir=launch.directory,
        kind=scheduler.kind,
        find=scheduler.find(launch.spec.key.job_name),
        no_job=scheduler.no_job,
    )
    return list(answer["cancelled"])


def cancel_others(host: Host, scheduler: Scheduler, launch: Launch, winner: str) -> None:
    """End submissions that lost the claim: one whose reply was lost may land late, and must not wait for nodes."""
    find = scheduler.find(launch.spec.key.job_name)
    if find:
        host.request("cancel_others", find=find, no_job=scheduler.no_job, spare=winner)
