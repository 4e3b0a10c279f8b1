"""Everything that can be made to go wrong."""

from __future__ import annotations

import time
from typing import Any

from .program import actions, faults
from .program.faults import REFUSALS, Limits
from .program.state import State


class Accidents:
    """Faults of commands (each for the next `times` calls or `seconds`, after `skip` good ones) and fates of jobs."""

    def __init__(self, state: State) -> None:
        self.state = state

    def _add(self, kind: str, command: str, limits: dict[str, Any], **details: Any) -> None:
        faults.add(self.state, kind, command, Limits(**limits), **details)

    # -- commands

    def fail(self, command: str, *, stderr: str, stdout: str = "", rc: int = 1, **limits: Any) -> None:
        """The command does nothing but say this."""
        self._add("fail", command, limits, stderr=_line(stderr), stdout=_line(stdout), rc=rc)

    def hang(self, command: str, for_seconds: float, **limits: Any) -> None:
        """The command takes this long, then does its work (or fails, if `fail` is set too)."""
        self._add("hang", command, limits, for_seconds=for_seconds)

    def banner(self, command: str, *, stdout: str = "", stderr: str = "", **limits: Any) -> None:
        """Text before the command's own output."""
        self._add("banner", command, limits, stdout=_line(stdout), stderr=_line(stderr))

    def controller_away(self, **limits: Any) -> None:
        """All commands but sacct: slurmctld does not answer."""
        for command, (message, rc) in faults.CONTROLLER_AWAY.items():
            self.fail(command, stderr=message, rc=rc, **limits)

    def accounting_away(self, **limits: Any) -> None:
        """There is no slurmdbd."""
        self.fail("sacct", stderr=faults.ACCOUNTING_AWAY, **limits)

    def accounting_incomplete(self, **limits: Any) -> None:
        """sacct knows jobs by id but not by name, and calls them `allocation` (seen for very short jobs)."""
        self._add("incomplete", "sacct", limits)

    def refuse(self, reason: str, **limits: Any) -> None:
        """sbatch refuses; a key of `REFUSALS` or Slurm's own words."""
        self._add("refuse", "sbatch", limits, reason=reason)

    def lose_reply(self, how: str = "error", **limits: Any) -> None:
        """sbatch's job is accepted, its reply lost: `error` (socket timed out), `kill` (sbatch dies) or `silent`."""
        if how not in {"error", "kill", "silent"}:
            raise ValueError(f"error, kill or silent, not {how}")
        self._add("lose_reply", "sbatch", limits, how=how)

    def land_late(self, delay: float, **limits: Any) -> None:
        """sbatch fails now; its job appears, and runs, `delay` seconds later."""
        self._add("land_late", "sbatch", limits, delay=delay)

    def lag(self, command: str, lag: float, **limits: Any) -> None:
        """squeue or sacct shows the world as it was `lag` seconds ago."""
        self._add("lag", command, limits, lag=lag)

    def heal(self, kind: str | None = None, command: str | None = None) -> None:
        """Remove faults: all, those of a kind, those of a command."""
        faults.clear(self.state, kind, command)

    # -- jobs

    def release(self, job_id: int) -> None:
        """A pending job starts now."""
        actions.release(self.state, job_id)

    def cancel(self, job_id: int, uid: int = 0) -> None:
        """Someone else cancels the job: an administrator by default."""
        actions.cancel(self.state, job_id, uid)

    def requeue(self, job_id: int) -> None:
        """An administrator requeues the job, whatever it says about requeueing."""
        self._force_requeue(job_id)
        actions.requeue(self.state, job_id)

    def preempt(self, job_id: int) -> None:
        """Requeued if it was submitted with --requeue, else ended as PREEMPTED."""
        actions.preempt(self.state, job_id)

    def fail_node(self, job_id: int, *, survive: bool = False) -> None:
        """The node is lost: requeued or NODE_FAIL. With `survive` its processes go on, unseen."""
        actions.fail_node(self.state, job_id, survive=survive)

    def warn(self, job_id: int) -> None:
        """The warning before the time limit comes now, as ``--signal`` asked for it."""
        self.state.tell(job_id, "warn")

    def time_out(self, job_id: int) -> None:
        """The time limit is reached now."""
        actions.time_out(self.state, job_id)

    def out_of_memory(self, job_id: int, *, whole: bool = True) -> None:
        """The kernel kills the job's processes; with `whole=False` all but the batch shell."""
        actions.out_of_memory(self.state, job_id, whole=whole)

    def duplicate(self, job_id: int) -> None:
        """The running job's script runs a second time beside the first, under the same id."""
        self.state.tell(job_id, "duplicate")

    def purge(self, job_id: int) -> None:
        """squeue and scontrol forget the job now."""
        with self.state.edit(job_id) as job:
            job.purged = True

    def show_state(self, job_id: int, word: str, seconds: float = 1e9) -> None:
        """squeue, sacct and scontrol show this word as the job's state for a while."""
        with self.state.edit(job_id) as job:
            job.mask_state, job.mask_until = word, time.time() + seconds

    def _force_requeue(self, job_id: int) -> None:
        with self.state.edit(job_id) as job:
            job.requeue = True


def _line(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


__all__ = ["REFUSALS", "Accidents"]
