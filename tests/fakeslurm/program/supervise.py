"""The process behind one job: starts the batch script, kills it, starts it again, writes down how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback

from . import processes
from .spawn import CONTROL, cancel_message, note, start_shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .job import Job
    from .state import State

OOM_MESSAGE = (
    "error: Detected 1 oom-kill event(s) in StepId={}.batch. "
    "Some of your processes may have been killed by the cgroup out-of-memory handler."
)
CANNOT_OPEN = 53  # the "signal" of a job whose output cannot be opened
LOOK_AROUND = 5.0  # how often to see whether the state directory is still there


class Quit(Exception):
    """The test is over."""


class Run:
    """One execution of the batch script."""

    def __init__(self, pid: int, stderr: int, mark: str) -> None:
        self.pid = pid
        self.stderr = stderr
        self.mark = mark
        self.warn_at: float | None = None
        self.limit_at: float | None = None
        self.kill_at: float | None = None

    def end(self) -> None:
        """Nothing of it is left."""
        processes.kill_all(self.mark, self.pid)
        os.close(self.stderr)

    def next_moment(self) -> float | None:
        return min((at for at in (self.warn_at, self.limit_at, self.kill_at) if at is not None), default=None)


def supervise(state: State, job_id: int) -> int:
    supervisor = Supervisor(state, job_id)
    try:
        supervisor.serve()
    except Quit:
        supervisor.kill_everything()
    except Exception:  # noqa: BLE001 - it has no stderr
        supervisor.kill_everything()
        if state.jobs_directory.exists():
            with open(state.directory / "errors.log", "a", encoding="utf-8") as file:  # noqa: PTH123
                traceback.print_exc(file=file)
        return 1
    return 0


def _ignore(*_: object) -> None:
    """Being woken up is enough."""


class Supervisor:
    def __init__(self, state: State, job_id: int) -> None:
        self.state = state
        self.job_id = job_id
        self.over = False
        self.run: Run | None = None
        self.ghosts: dict[int, Run] = {}  # duplicates, and runs that outlived their node
        self.ended: dict[int, tuple[int, Any]] = {}
        os.set_inheritable(CONTROL, False)
        self.alarm, alarm_write = os.pipe()
        os.set_blocking(self.alarm, False)
        os.set_blocking(alarm_write, False)
        signal.set_wakeup_fd(alarm_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)

    def serve(self) -> None:
        while not self.over:
            if self._wait_for_start():
                self._wait_for_end()

    def kill_everything(self) -> None:
        for run in [*self.ghosts.values(), *([self.run] if self.run else [])]:
            processes.kill_all(run.mark, run.pid)

    # -- before the run

    def _wait_for_start(self) -> bool:
        while True:
            with self.state.edit(self.job_id) as job:
                now = time.time()
                if job.terminal:
                    self._rest(job)
                elif job.begin_at is not None and job.begin_at <= now:
                    self._start(job, now)
                    return True
                until = None if job.terminal else job.begin_at
            if self.over:
                return False
            self._wait(until)

    def _rest(self, job: Job) -> None:
        """The job is over: done, unless duplicates still run. Under the lock, so that no requeue comes too late."""
        job.alive = False
        if not self.ghosts:
            os.close(CONTROL)
            self.over = True

    def _start(self, job: Job, now: float) -> None:
        """Start the script. The lock is held."""
        try:
            self.run = self._shell(job)
        except OSError:
            job.started(now, 0)
            job.ended(now, 0, CANNOT_OPEN)
            return
        job.started(now, self.run.pid)
        if job.minutes is not None:
            speed = float(self.state.config["seconds_per_minute"])
            self.run.limit_at = now + job.minutes * speed
            if job.warn_signal:
                self.run.warn_at = self.run.limit_at - job.warn_seconds * speed / 60

    def _shell(self, job: Job) -> Run:
        number = job.runs + 1
        pid, stderr = start_shell(self.state, job, number)
        return Run(pid, stderr, processes.run_mark(self.state.directory, job.id, number))

    # -- during the run

    def _wait_for_end(self) -> None:
        while self.run is not None and self.run.pid not in self.ended:
            self._wait(self.run.next_moment())
            self._keep_time()
        if self.run is not None:
            self._settle(self.run)

    def _keep_time(self) -> None:
        run, now = self.run, time.time()
        if run is None:
            return
        if run.warn_at is not None and now >= run.warn_at:
            run.warn_at = None
            self.on_warn()
        if run.limit_at is not None and now >= run.limit_at:
            run.limit_at = None
            self._time_limit()
        if run.kill_at is not None and now >= run.kill_at:
            run.kill_at = None
            processes.kill_all(run.mark, run.pid)

    def _time_limit(self) -> None:
        with self.state.edit(self.job_id) as job:
            if job.state != "RUNNING":
                return
            job.killed(time.time(), "TIMEOUT", reason="TimeLimit")
        self.on_stop(why=" DUE TO TIME LIMIT")

    def _settle(self, run: Run) -> None:
        processes.kill_all(run.mark, run.pid)
        status, usage = self.ended.pop(run.pid)
        self.run = None
        code, number = (0, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), 0)
        with self.state.edit(self.job_id) as job:
            if job.out_of_memory and job.state == "RUNNING":
                note(run.stderr, OOM_MESSAGE.format(job.id))
            job.ended(time.time(), code, number, usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
        os.close(run.stderr)

    # -- events

    def _wait(self, until: float | None) -> None:
        """Sleep until a child ends, a message comes or the time has come."""
        left = LOOK_AROUND if until is None else min(LOOK_AROUND, max(0.0, until - time.time()))
        ready, _, _ = select.select([CONTROL, self.alarm], [], [], left)
        if not self.state.jobs_directory.exists():
            raise Quit
        if self.alarm in ready:
            os.read(self.alarm, 4096)
        self._reap()
        if CONTROL in ready:
            for line in os.read(CONTROL, 65536).splitlines():
                message = json.loads(line)
                getattr(self, "on_" + message.pop("op"))(**message)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait3(os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.ghosts:
                self.ghosts.pop(pid).end()
            else:
                self.ended[pid] = (status, usage)

    # -- messages (see State.tell)

    def on_wake(self) -> None:
        """Look at the job's record again."""

    def on_quit(self) -> None:
        raise Quit

    def on_stop(self, why: str, grace: float | None = None) -> None:
        """TERM to the batch shell alone, KILL to everything later."""
        job, run = self.state.load(self.job_id), self.run
        if run is None or job is None:
            return
        note(run.stderr, cancel_message(job, why))
        processes.send([run.pid], signal.SIGCONT)
        steps = [pid for step in job.last_run()[1] if not step["end"] for pid in self._step_members(step["id"])]
        processes.send([run.pid, *steps], signal.SIGTERM)
        if run.kill_at is None:
            run.kill_at = time.time() + (float(self.state.config["kill_wait"]) if grace is None else grace)

    def on_kill(self) -> None:
        if self.run:
            processes.kill_all(self.run.mark, self.run.pid)

    def on_signal(self, number: int, *, batch: bool = False, steps: bool = False, full: bool = False) -> None:
        run, job = self.run, self.state.load(self.job_id)
        if run is None or job is None:
            return
        targets = processes.members(run.mark, run.pid) if full else []
        if batch:
            targets.append(run.pid)
        if steps:
            for step in job.steps:
                targets += self._step_members(step["id"])
        processes.send(sorted(set(targets)), number)

    def on_warn(self) -> None:
        job = self.state.load(self.job_id)
        if job is not None and job.warn_signal:
            self.on_signal(number=job.warn_signal, batch=job.warn_batch, steps=not job.warn_batch)

    def on_step_signal(self, step: int, number: int, by: int) -> None:
        with self.state.edit(self.job_id) as job:
            running = [record for record in job.steps if record["id"] == step and not record["end"]]
            for record in running:
                record["killed_by"] = by if number == signal.SIGKILL else None
        if running and self.run and number in {signal.SIGTERM, signal.SIGKILL}:
            note(self.run.stderr, cancel_message(job, "", step=f".{step}"))
        processes.send(self._step_members(step), number)

    def _step_members(self, step: int) -> list[int]:
        return processes.members(processes.step_mark(self.state.directory, self.job_id, step))

    def on_oom(self, *, whole: bool) -> None:
        """The kernel kills the payload, or the batch shell as well."""
        run = self.run
        if run is None:
            return
        found = processes.members(run.mark, run.pid)
        processes.send([pid for pid in found if whole or pid != run.pid], signal.SIGKILL)

    def on_duplicate(self) -> None:
        """The same script once more, side by side with the first."""
        with self.state.edit(self.job_id) as job:
            ghost = self._shell(job)
            job.runs += 1
        self.ghosts[ghost.pid] = ghost

    def on_abandon(self) -> None:
        """The node is lost to Slurm, its processes live on."""
        if self.run:
            self.ghosts[self.run.pid] = self.run
        self.run = None
