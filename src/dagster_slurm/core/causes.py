"""From a verdict to the error that a person reads: what happened, where, and what to do next. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from dagster_slurm.core.facts import Ended, peak_mebibytes, requested_mebibytes
from dagster_slurm.core.observations import Row
from dagster_slurm.errors import (
    ComponentStopped,
    EnvironmentDamaged,
    JobCancelled,
    JobError,
    JobInterrupted,
    JobLost,
    JobPreempted,
    NodeFailed,
    OutOfMemory,
    PayloadFailed,
    PayloadKilled,
    PayloadRaised,
    TimeLimitReached,
)

_ERRORS: dict[str, type[JobError]] = {
    "exit_code": PayloadFailed,
    "signal": PayloadKilled,
    "out_of_memory": OutOfMemory,
    "time_limit": TimeLimitReached,
    "cancelled": JobCancelled,
    "preempted": JobPreempted,
    "node_failure": NodeFailed,
    "interrupted": JobInterrupted,
    "lost": JobLost,
    "stopped": ComponentStopped,
}
_BEFORE_THE_PAYLOAD = ("environment", "environment-damaged", "session", "step")
#: exit codes by which shells and our scripts say that the payload did not start
_NOT_STARTED = {
    126: "The program cannot be executed: see its permissions and its interpreter.",
    127: "The program was not found in the job: load its module in prelude, or name an environment.",
}


def job_error(ended: Ended, command: str, log: str, exception: Mapping[str, Any] | None = None) -> JobError:
    """Return the error for a job that did not end well.

    Args:
        ended: the job.
        command: what it ran.
        log: the last lines of its log.
        exception: what the payload reported through Pipes, if it did.
    """
    cause = ended.verdict.cause
    kind = PayloadRaised if cause == "exit_code" and exception else _ERRORS[cause]
    if _phase(ended) == "environment-damaged":
        kind = EnvironmentDamaged
    return kind(
        _message(ended, exception),
        hint=_hint(ended, exception),
        command=command,
        exit_code=ended.verdict.code,
        # where a launcher blames one process of many, all of them said something
        log_tail=log if ended.tracked.record.fault else _traceback(exception) or log,
        details=_where(ended),
    )


def _message(ended: Ended, exception: Mapping[str, Any] | None) -> str:
    verdict, name = ended.verdict, _name(ended)
    text = verdict.exit.text if verdict.exit else ""
    if verdict.cause == "exit_code":
        if exception:
            fault = ended.tracked.record.fault
            blamed = f"{name}: {fault}; " if fault else f"{name}: " if ended.component else ""
            return f"{blamed}the payload raised {_exception(exception)}"
        if _phase(ended) == "prelude":
            return f"{name}: the prelude failed with exit code {verdict.code} at: {text}"
        if _phase(ended) == "result":
            return f"{name} could not use its folder for results: {text}"
        if _phase(ended) in _BEFORE_THE_PAYLOAD:
            return f"{name} could not start the payload: {text}"
        code = "a failure" if verdict.code is None else f"exit code {verdict.code}"
        return f"{name}: {ended.tracked.record.fault or f'the payload ended with {code}'}"
    return {
        "signal": f"{name}: the payload was killed by {signal_name(verdict.signal)}",
        "out_of_memory": f"{name} ran out of memory{_memory(ended)}",
        "time_limit": f"{name} reached its time limit{_limit(ended)}",
        "cancelled": f"{name} was cancelled{_by_whom(verdict.word)}",
        "preempted": f"{name} was preempted by a job with a higher priority",
        "node_failure": f"{name} lost a node",
        "interrupted": f"{name} was told to stop{_signals(ended)}, and nobody can say why",
        "lost": f"{name} is gone: {verdict.evidence}",
        "stopped": f"{name} {_why_stopped(ended)}",
    }[verdict.cause]


def _phase(ended: Ended) -> str:
    return ended.verdict.exit.phase if ended.verdict.exit is not None else ""


def _hint(ended: Ended, exception: Mapping[str, Any] | None) -> str:
    cause, code = ended.verdict.cause, ended.verdict.code
    if _phase(ended) == "environment-damaged":
        return (
            "Run it again: the environment is built anew. Scratch file systems purge what nobody reads; see env_base."
        )
    if _phase(ended) == "result":
        return "What was there before is untouched. See the space and the rights there, or set data_base elsewhere."
    if cause == "exit_code" and not exception and code is not None:
        if code in _NOT_STARTED:
            return _NOT_STARTED[code]
        if 128 < code <= 192:
            return f"So a shell says that {signal_name(code - 128)} ended a program that it ran: see the payload's log."
    asked = requested_mebibytes(ended)
    more = f", for instance mem='{asked * 2}M'" if asked else ""
    if not ended.tracked.asks and cause in ("interrupted", "lost"):
        return "Run it again; the payload's process was ended from outside."
    return {
        "exit_code": "See the payload's log above, and the run directory for all of it.",
        "signal": "See the payload's log; a crash of native code ends so.",
        "out_of_memory": f"Ask for more memory: resources=Resources(mem=...){more}.",
        "time_limit": "Ask for more time: resources=Resources(time_limit=...), or let the payload save and continue.",
        "cancelled": "Run it again when you want it.",
        "preempted": "Run it again, or use a QOS that is not preempted; Slurm requeues if the partition allows it.",
        "node_failure": "Run it again; resources=Resources(exclude=...) keeps away from the node.",
        "interrupted": "Run it again. The payload ended after a signal, so its exit code proves nothing.",
        "stopped": "See the component that failed first; on_failure='wait' lets the others go on.",
        "lost": "Run it again. Check that remote_base lies on a file system that all nodes share, and is not full.",
    }[cause]


def _where(ended: Ended) -> dict[str, str | int | float]:
    start = ended.tracked.record.start
    found: dict[str, str | int | float] = {"job": ended.tracked.job}
    if start is not None:
        found["node"] = start.nodes or start.node
    if ended.tracked.record.fault and ended.verdict.cause != "exit_code":
        found["launcher"] = ended.tracked.record.fault
    found["evidence"] = ended.verdict.evidence
    found["run directory"] = ended.directory
    return found


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}" if number else "a signal"


def _name(ended: Ended) -> str:
    name = f"{kind_of(ended.tracked.job, local=not ended.tracked.asks)} {ended.tracked.job}"
    return f"component {ended.component} ({name})" if ended.component else name


def _why_stopped(ended: Ended) -> str:
    note = ended.tracked.record.stopped
    return note.stopped if note is not None else "was not started"


def kind_of(job: str, *, local: bool = False) -> str:
    """Return what an id names: a job, a step of one, or a process beside Dagster."""
    return "process" if local else "step" if "." in job else "job"


def _memory(ended: Ended) -> str:
    asked, peak = requested_mebibytes(ended), peak_mebibytes(ended)
    words = [f"asked for {asked} MiB"] if asked else []
    # what the kernel killed at the limit is often recorded with less than it used
    words += [f"largest process measured at {peak} MiB"] if peak else []
    return f" ({', '.join(words)})" if words else ""


def _limit(ended: Ended) -> str:
    return f" of {ended.resources.time_limit}" if ended.resources.time_limit else ""


def _by_whom(word: Row | None) -> str:
    return f" by user id {word.user}" if word is not None and word.user else ""


def _signals(ended: Ended) -> str:
    names = ended.verdict.exit.signals if ended.verdict.exit else ()
    return f" (SIG{', SIG'.join(names)})" if names else ""


def _traceback(exception: Mapping[str, Any] | None) -> str:
    if not exception:
        return ""
    stack: Sequence[object] = exception.get("stack") or ()
    return "".join(str(line) for line in stack) + _exception(exception)


def _exception(exception: Mapping[str, Any]) -> str:
    """Return type and message; dagster_pipes' message begins with the type already, and with its module."""
    name, message = str(exception.get("name")), str(exception.get("message", "")).strip()
    kind, colon, rest = message.partition(":")
    return f"{name}{colon}{rest}" if kind.rpartition(".")[2] == name else f"{name}: {message}"
