"""Whether a job that failed is followed by another one, and what that one asks for: decided here alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from dagster_slurm.core.option_names import suggestion
from dagster_slurm.core.partitions import Kind, of_request
from dagster_slurm.core.resources import Resources, limit_seconds, mebibytes, time_text
from dagster_slurm.core.tried import Tried, count
from dagster_slurm.errors import ConfigurationError

OnTimeout = Literal["retry", "continue", "fail"]
_ON_TIMEOUT = ("retry", "continue", "fail")
_MOST = 1000
#: why the others are left alone
_NO_RETRY = {
    "exit_code": "the payload's own errors are not",
    "exception": "the payload's own errors are not",
    "signal": "a payload that crashes is not",
    "cancelled": "what somebody cancelled is not",
    "poll_timeout": "poll_timeout is over",
    "interrupted": "nobody can say why it ended",
    "lost": "nobody can say why it ended",
}
#: the same job again helps: it ran on something that is gone, or was in the way
_AS_IT_WAS = frozenset({"preempted", "environment_damaged", "session"})


@dataclass(frozen=True, kw_only=True)
class SlurmRetryPolicy:
    """What is submitted again, by the cause of its end.

    Out of memory: with more memory. Time limit: with more time, or as ``on_timeout`` says. Node failure: without that
    node. Preempted where Slurm does not requeue, or a damaged environment: as it was. A payload's own error, a
    cancelled job and what nobody can explain: never. A job that Slurm requeues by itself is waited for, and counts as
    no retry.

    With a policy, Dagster's own retries of the step leave failed jobs alone: nothing is tried twice over.

    Args:
        max_retries: how many further jobs at most.
        memory_factor: how many times the memory, each time it was too little.
        max_mem: memory per node (or per CPU, if that is asked for) that is never exceeded: MiB, or with a unit.
        time_factor: how many times the time, each time it was too little.
        max_time: time limit that is never exceeded, as ``time_limit``.
        on_timeout: ``"retry"``: the work begins anew with more time. ``"continue"``: the payload is told by a signal
            before the end, saves what it has, and the next job goes on with it. ``"fail"``: neither.
        max_continuations: how many jobs at most continue the first one; they do not count as retries.
        warning: with ``"continue"``: how many seconds before the time limit the payload gets SIGTERM, unless
            ``signal_before_timeout`` says otherwise. Slurm may be 60 seconds early.

    Raises:
        ConfigurationError: a value that means nothing.
    """

    max_retries: int = 2
    memory_factor: float = 2.0
    max_mem: str | int | None = None
    time_factor: float = 2.0
    max_time: str | int | None = None
    on_timeout: OnTimeout = "retry"
    max_continuations: int = 20
    warning: int = 120

    def __post_init__(self) -> None:
        """Refuse at once what would end in a riddle later."""
        for name in ("max_retries", "max_continuations", "warning"):
            _check_count(name, getattr(self, name))
        for name in ("memory_factor", "time_factor"):
            _check_factor(name, getattr(self, name))
        if self.on_timeout not in _ON_TIMEOUT:
            raise ConfigurationError(
                f"on_timeout={self.on_timeout!r} is not known", hint='"retry", "continue" or "fail".'
            )
        if self.max_mem is not None:
            mebibytes(self.max_mem, "max_mem")
        Resources(time_limit=self.max_time, signal_before_timeout=self.warning)

    @property
    def continues(self) -> bool:
        """Whether work goes on in another job where the time limit is reached."""
        return self.on_timeout == "continue"

    def needs(self) -> Resources:
        """Return what the job must ask for so that this can work, where nothing else says."""
        return Resources(signal_before_timeout=self.warning) if self.continues else Resources()


def policy(said: Mapping[str, Any]) -> SlurmRetryPolicy:
    """Return the policy that a mapping names, as YAML has it.

    Raises:
        ConfigurationError: it has no such setting, or a value means nothing.
    """
    known = frozenset(item.name for item in fields(SlurmRetryPolicy))
    for name in said:
        if name not in known:
            raise ConfigurationError(f"retry has no setting {name!r}", hint=suggestion(name, known))
    return SlurmRetryPolicy(**said)


@dataclass(frozen=True, kw_only=True)
class End:
    """How a job ended, as far as it matters here.

    Args:
        cause: the error's.
        resources: what it asked for.
        memory: its limit per node in MiB, where known.
        node: the node where it ran, if it was one alone; of several, nobody says here which one failed.
    """

    cause: str
    resources: Resources = field(default_factory=Resources)
    memory: int | None = None
    node: str = ""


@dataclass(frozen=True)
class Again:
    """Another job is submitted.

    Args:
        kind: the work begins anew, or goes on.
        change: what the job asks for in another way than the one before.
        how: that, for people: ``with mem=200M``.
    """

    kind: Literal["retry", "continue"]
    change: Resources
    how: str


@dataclass(frozen=True)
class Enough:
    """No other job is submitted, and why."""

    why: str


def decide(policy: SlurmRetryPolicy, tried: Sequence[Tried], end: End, known: Sequence[Kind] = ()) -> Again | Enough:
    """Return what follows a job that did not end well.

    Args:
        policy: what the user wants.
        tried: the jobs before this one.
        end: how it ended.
        known: the cluster's partitions, which set limits to what can be asked for.
    """
    if end.cause == "time_limit" and policy.continues:
        if count(tried, "continue") >= policy.max_continuations:
            return Enough(f"it was continued {policy.max_continuations} times (max_continuations)")
        return Again("continue", Resources(), "where it stopped")
    step = _change(policy, end, known)
    if isinstance(step, Again) and count(tried, "retry") >= policy.max_retries:
        return Enough(f"it was tried again {policy.max_retries} times (max_retries)")
    return step


def _change(policy: SlurmRetryPolicy, end: End, known: Sequence[Kind]) -> Again | Enough:
    if end.cause == "out_of_memory":
        return _more_memory(policy, end, known)
    if end.cause == "time_limit" and policy.on_timeout == "retry":
        return _more_time(policy, end, known)
    if end.cause == "node_failure":
        if not end.node:
            return Again("retry", Resources(), "on other nodes (Slurm keeps away from the one that failed)")
        nodes = ",".join(dict.fromkeys([*(end.resources.exclude or "").split(","), end.node])).strip(",")
        return Again("retry", Resources(exclude=nodes), f"without {end.node}")
    if end.cause in _AS_IT_WAS:
        return Again("retry", Resources(), "as it was")
    why = _NO_RETRY.get(end.cause, "such an end is not")
    return Enough(f"{why} tried again" if why.endswith("not") else why)


def _more_memory(policy: SlurmRetryPolicy, end: End, known: Sequence[Kind]) -> Again | Enough:
    asked = end.resources
    per_cpu = asked.mem_per_cpu is not None
    had = mebibytes(asked.mem_per_cpu) if asked.mem_per_cpu is not None else end.memory
    if not had:
        return Enough("it is not known how much memory it had: say so with mem=")
    there = max((kind.memory for kind in of_request(asked, known)), default=None)
    if there is not None and per_cpu:
        there //= asked.cpus or 1
    most = [mebibytes(policy.max_mem)] if policy.max_mem is not None else list[int]()
    more: int = min([math.ceil(had * policy.memory_factor), *most, *([there] if there else [])])
    if more <= had:
        return Enough(f"it had {had} MiB{' per CPU' if per_cpu else ''}, and there is no more to be had")
    if per_cpu:
        return Again("retry", Resources(mem_per_cpu=f"{more}M"), f"with mem_per_cpu={more}M")
    return Again("retry", Resources(mem=f"{more}M"), f"with mem={more}M")


def _more_time(policy: SlurmRetryPolicy, end: End, known: Sequence[Kind]) -> Again | Enough:
    had = limit_seconds(end.resources.time_limit)
    if had is None:
        return Enough("it is not known how much time it had: say so with time_limit=")
    limits = [kind.limit for kind in of_request(end.resources, known)]
    there = [max(limit for limit in limits if limit is not None)] if limits and None not in limits else []
    most = [limit for limit in [limit_seconds(policy.max_time)] if limit is not None]
    more: int = min([math.ceil(had * policy.time_factor), *most, *there])
    if more <= had:
        return Enough(f"it had {end.resources.time_limit}, and there is no more to be had")
    text = time_text(more)
    return Again("retry", Resources(time_limit=text), f"with time_limit={text}")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ConfigurationError(f"{name}={value!r} is not a number from 0 to 65535")


def _check_factor(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 < value <= _MOST:
        raise ConfigurationError(f"{name}={value!r} is not a number above 1", hint=f"{name}=2.0 doubles it.")
