"""What users, administrators and accidents do to jobs. Each is one change under the lock and one message."""

from __future__ import annotations

import time

from .spawn import start_supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Job
    from .state import State


def cancel(state: State, job_id: int, uid: int) -> bool:
    """False if the job is over already."""
    with state.edit(job_id) as job:
        if job.terminal:
            return False
        job.killed(time.time(), "CANCELLED", by=uid)
    state.tell(job_id, "stop", why="")
    return True


def requeue(state: State, job_id: int, *, hold: bool = False) -> bool:
    """False if the job may not be requeued."""
    with state.edit(job_id) as job:
        if not job.requeue or job.state == "PENDING":
            return False
        _send_back(state, job, "REQUEUED")
        if hold:
            job.begin_at, job.reason = None, "JobHeldUser"
    if not state.tell(job_id, "stop", why=" DUE TO JOB REQUEUE"):  # it was over
        with state.edit(job_id) as job:
            job.supervisor = start_supervisor(state, job_id)
    return True


def preempt(state: State, job_id: int) -> None:
    """Requeued if the job allows it, else ended."""
    with state.edit(job_id) as job:
        if job.requeue:
            _send_back(state, job, "PREEMPTED")
        else:
            job.killed(time.time(), "PREEMPTED")
    state.tell(job_id, "stop", why=" DUE TO PREEMPTION")


def fail_node(state: State, job_id: int, *, survive: bool = False) -> None:
    """The node of the job is lost; with `survive` the processes there go on all the same."""
    with state.edit(job_id) as job:
        if job.requeue:
            _send_back(state, job, "NODE_FAIL")
        else:
            job.killed(time.time(), "NODE_FAIL")
        if survive:
            job.alive, job.shell = False, 0
    state.tell(job_id, "abandon" if survive else "kill")


def time_out(state: State, job_id: int) -> None:
    with state.edit(job_id) as job:
        job.killed(time.time(), "TIMEOUT", reason="TimeLimit")
    state.tell(job_id, "stop", why=" DUE TO TIME LIMIT")


def out_of_memory(state: State, job_id: int, *, whole: bool = True) -> None:
    with state.edit(job_id) as job:
        job.out_of_memory = True
    state.tell(job_id, "oom", whole=whole)


def release(state: State, job_id: int) -> None:
    """Let a pending job start now."""
    with state.edit(job_id) as job:
        job.begin_at, job.reason = time.time(), "None"
    state.tell(job_id, "wake")


def _send_back(state: State, job: Job, ended_as: str) -> None:
    now = time.time()
    delay = 0.0 if job.terminal else float(state.config["requeue_delay"])
    job.sent_back(now, ended_as, begin_at=now + delay)
