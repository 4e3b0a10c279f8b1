"""Everything that can go wrong, as one tree.

::

    DagsterSlurmError
    ├── ConfigurationError            a setting or an argument is wrong; nothing was sent anywhere
    │   ├── PayloadNotFound
    │   └── PayloadTooLarge
    ├── EnvironmentUnavailable        the environment cannot be had: no such Python, no wheel, no download
    ├── HostError                     the way to the cluster
    │   ├── CannotConnect             nobody answers; jobs run on, the step waits
    │   ├── CannotAuthenticate        the login was refused; nothing tries again by itself
    │   ├── HostKeyUnknown            the host shows a key that is not in known_hosts
    │   ├── NoSession                 sshd gives this connection no further session for now
    │   └── AgentUnavailable          logged in, but our program does not start there (no python3, odd shell)
    ├── RequestFailed                 the host was reached, but a request could not be carried out
    │   ├── EnvironmentNotBuilt       building the environment on the cluster failed
    │   ├── ResultNotFetched          the job ended well, but what was to be fetched of its result did not come
    │   └── RemoteStorageError        folder missing or unwritable, disk or quota full
    ├── ResultNotHere                 an upstream result does not lie where this asset runs
    ├── SubmissionRefused             Slurm will not take this job as it is
    │   ├── HeterogeneousJobRefused   ... nor any other heterogeneous job
    │   └── SubmissionDelayed         ... not now: a limit is reached or the controller does not answer
    └── JobError                      how a job ended, when it did not end well
        ├── PayloadFailed             the payload ended by itself with an exit code that is not 0
        │   └── PayloadRaised         ... after an exception that it reported through Dagster Pipes
        ├── PayloadKilled             a signal ended the payload, and Slurm names no reason for it
        ├── EnvironmentDamaged        files of the job's environment are gone; the next run builds it anew
        ├── OutOfMemory
        ├── TimeLimitReached
        ├── JobCancelled
        ├── JobPreempted
        ├── NodeFailed
        ├── ComponentStopped          its job ended a component, or never began it, since another one failed
        ├── WaitedTooLong             poll_timeout is over
        ├── SessionFailed             the allocation of a session ended by itself before it took the work
        ├── JobInterrupted            something stopped the payload and nobody can say what
        └── JobLost                   Slurm knows no such job, and it left no record
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType


class DagsterSlurmError(Exception):
    """Base of all our errors: what happened, where, and what to do next.

    Args:
        message: what happened, in one sentence.
        hint: what to do next.
        command: the command that failed, as it was run.
        exit_code: its exit code.
        log_tail: the last lines of the log that belongs to it.
        details: further facts (job id, node, file, ...), in the order in which they are shown.
    """

    #: whether running the same step again can help; becomes ``dg.Failure(allow_retries=...)``
    allow_retries: bool = True

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        command: Sequence[str] | str | None = None,
        exit_code: int | None = None,
        log_tail: str | None = None,
        details: Mapping[str, str | int | float] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command = command if isinstance(command, str) or command is None else " ".join(command)
        self.exit_code = exit_code
        self.log_tail = log_tail
        self.details = dict(details or {})

    def __str__(self) -> str:
        """All that is known, for a terminal or the Dagster UI."""
        lines = [self.message]
        lines += [f"  {key}: {value}" for key, value in self.details.items()]
        if self.command is not None:
            lines.append(f"  command: {self.command}")
        if self.exit_code is not None:
            lines.append(f"  exit code: {self.exit_code}")
        if self.log_tail and self.log_tail.strip():
            lines.append("  last lines of its log:")
            lines += [f"    | {line}" for line in self.log_tail.rstrip().splitlines()]
        if self.hint:
            lines.append(f"  What to do: {self.hint}")
        return "\n".join(lines)


class ConfigurationError(DagsterSlurmError):
    """A setting or an argument is wrong; nothing was sent anywhere."""

    allow_retries = False


class PayloadNotFound(ConfigurationError):
    """No payload where one was looked for; the message lists the places."""


class PayloadTooLarge(ConfigurationError):
    """The payload's folder exceeds what travels with a run."""


class EnvironmentUnavailable(DagsterSlurmError):
    """The environment cannot be had for this host: a Python, a wheel or a download is missing."""


class HostError(DagsterSlurmError):
    """The way to the cluster is barred."""


class CannotConnect(HostError):
    """Nobody answers at host and port, or the connection broke."""

    #: whether waiting may help; not so for a name that does not resolve
    passing: bool = True


class CannotAuthenticate(HostError):
    """The login was refused. Nothing tries again by itself: sites ban addresses that do."""

    allow_retries = False


class HostKeyUnknown(HostError):
    """The host's key is not in known_hosts, or is another than the one there."""

    allow_retries = False


class NoSession(HostError):
    """The shared connection gives no further session for now (sshd's MaxSessions)."""


class AgentUnavailable(HostError):
    """The login works, but our program does not start on the host."""


class RequestFailed(DagsterSlurmError):
    """The host was reached, but could not do what was asked."""


class EnvironmentNotBuilt(RequestFailed):
    """Building the environment on the cluster failed; nothing of it is left there."""


class ResultNotFetched(RequestFailed):
    """The job ended well, and what was to be fetched of its result did not come."""


class RemoteStorageError(RequestFailed):
    """A folder on the host is missing or unwritable, or its disk or quota is full."""


class ResultNotHere(DagsterSlurmError):
    """An upstream result does not lie where this asset runs."""

    allow_retries = False


class SubmissionRefused(DagsterSlurmError):
    """Slurm will not take this job as it is (partition, account, time, memory, ...)."""

    allow_retries = False


class HeterogeneousJobRefused(SubmissionRefused):
    """This cluster takes no heterogeneous jobs."""


class SubmissionDelayed(SubmissionRefused):
    """Slurm does not take this job now: a limit is reached, or the controller does not answer."""

    allow_retries = True


class JobError(DagsterSlurmError):
    """How a job ended, when it did not end well."""

    #: one word for metadata and for rules about retries
    cause: str = "failed"

    #: figures of the job, for metadata
    facts: Mapping[str, str | int | float] = MappingProxyType({})


class PayloadFailed(JobError):
    """The payload ended by itself with an exit code that is not 0."""

    cause = "exit_code"


class PayloadRaised(PayloadFailed):
    """The payload reported an exception through Dagster Pipes."""

    cause = "exception"


class PayloadKilled(JobError):
    """A signal ended the payload, and Slurm names no reason for it."""

    cause = "signal"


class EnvironmentDamaged(JobError):
    """Files of the job's environment are gone, perhaps purged; the payload was not started."""

    cause = "environment_damaged"


class OutOfMemory(JobError):
    """The kernel killed the payload at the job's memory limit."""

    cause = "out_of_memory"


class TimeLimitReached(JobError):
    """The job reached its time limit."""

    cause = "time_limit"


class JobCancelled(JobError):
    """Somebody cancelled the job."""

    cause = "cancelled"
    allow_retries = False


class JobPreempted(JobError):
    """Slurm ended the job for one with a higher priority."""

    cause = "preempted"


class NodeFailed(JobError):
    """A node of the job failed."""

    cause = "node_failure"


class ComponentStopped(JobError):
    """The job ended a component, or never began it, because another one failed."""

    cause = "stopped"


class WaitedTooLong(JobError):
    """The time that the user was willing to wait is over; the job was cancelled."""

    cause = "poll_timeout"
    allow_retries = False


class SessionFailed(JobError):
    """The allocation of a session ended by itself, or was cancelled while it waited, before it took the work."""

    cause = "session"


class JobInterrupted(JobError):
    """Something stopped the payload, and nobody can say what: not a success, whatever its exit code."""

    cause = "interrupted"


class JobLost(JobError):
    """Slurm does not know the job any more, and it left no record of its end."""

    cause = "lost"
