"""`srun` inside a job: a step whose tasks live in a session of their own. TERM to it kills the step."""

from __future__ import annotations

import os
import signal
import sys
import time

from . import processes, text
from .job import step_end
from .options import Grammar, UsageError
from .script import file_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State

OPTIONS = """
A account=
cpu-bind=
c cpus-per-task=
D chdir=
C constraint=
e error=
exact
X disable-status
x exclude=
exclusive?
export=
G gpus=
gpus-per-node=
gpus-per-task=
gpu-bind=
gres=
het-group=
I immediate?
i input=
J job-name=
jobid=
K kill-on-bad-exit?
k no-kill
l label
mem=
mem-per-cpu=
mem-per-gpu=
mpi=
w nodelist=
N nodes=
n ntasks=
ntasks-per-node=
open-mode=
o output=
overlap
O overcommit
p partition=
pty?
q quit-on-interrupt
Q quiet
r relative=
signal=
t time=
u unbuffered
v verbose
V version
W wait=
"""
KILLED = 137
SIGNALLED = 128


class Terminated(Exception):
    """TERM, INT or HUP reached srun."""


def run(state: State, argv: list[str], _: dict[str, Any]) -> int:
    pairs, command = Grammar("srun", OPTIONS, permute=False).parse(argv)
    options = dict(pairs)
    if not command:
        raise UsageError("srun: fatal: No command given to execute.")
    number = options.get("jobid", os.environ.get("SLURM_JOB_ID", ""))
    if not number.isdigit() or state.load(int(number)) is None:
        raise UsageError("srun: error: the fake starts steps only inside a job")
    return Step(state, int(number), options, command).execute()


class Step:
    def __init__(self, state: State, job_id: int, options: dict[str, str], command: list[str]) -> None:
        self.state = state
        self.job_id = job_id
        self.options = options
        self.command = command
        self.nodes = int(options.get("nodes", "1"))
        self.tasks = int(options.get("ntasks", str(self.nodes * int(options.get("ntasks-per-node", "1")))))
        self.number = 0
        self.mark = ""

    def execute(self) -> int:
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._terminate)
        self._record()
        sys.stdout.flush()
        pids = [self._start(rank) for rank in range(self.tasks)]
        try:
            results = [os.wait4(pid, 0)[1:] for pid in pids]
        except Terminated:
            return self._abort()
        codes = [_code(status) for status, _ in results]
        for rank, code in enumerate(codes):
            self._complain(rank, code)
        worst = max(codes)
        self._close(*((worst, 0) if worst <= SIGNALLED else (0, worst - SIGNALLED)), usages=[u for _, u in results])
        return worst

    def _abort(self) -> int:
        where = f"STEP {self.job_id}.{self.number} ON {self._node(0)}"
        sys.stderr.write(
            "srun: forcing job termination\n"
            "srun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n"
            f"slurmstepd: error: *** {where} CANCELLED AT {time.strftime(text.ISO)} ***\n"
        )
        processes.kill_all(self.mark)
        self._complain(0, KILLED)
        self._close(0, signal.SIGKILL, by=os.getuid())
        return KILLED

    def _terminate(self, *_: object) -> None:
        raise Terminated

    def _record(self) -> None:
        with self.state.edit(self.job_id) as job:
            self.number = max((step["id"] for step in job.steps), default=-1) + 1
            self.mark = processes.step_mark(self.state.directory, job.id, self.number)
            job.steps.append(
                {
                    "id": self.number,
                    "name": self.options.get("job-name", self.command[0].rpartition("/")[2]),
                    "state": "RUNNING",
                    "exit": [0, 0],
                    "start": time.time(),
                    "end": 0.0,
                    "nodes": self.nodes,
                    "ntasks": self.tasks,
                    "memory": text.megabytes(self.options.get("mem", "0")),
                    "cpus": self.tasks * int(self.options.get("cpus-per-task", "1")),
                }
            )

    def _close(self, code: int, number: int, usages: list[Any] | None = None, by: int | None = None) -> None:
        with self.state.edit(self.job_id) as job:
            records = [step for step in job.last_run()[1] if step["id"] == self.number]
            record: dict[str, Any] = records[0] if records else {}
            killer = record.get("killed_by") if by is None else by
            word = step_end(code, number)
            if word == "CANCELLED" and killer is not None:
                word = f"CANCELLED by {killer}"
            record.update(state=word, exit=[code, number], end=time.time())
            for usage in usages or []:
                record["rss"] = max(record.get("rss", 0), usage.ru_maxrss)
                record["cpu"] = record.get("cpu", 0.0) + usage.ru_utime + usage.ru_stime

    def _complain(self, rank: int, code: int) -> None:
        if code > SIGNALLED:
            how = signal.strsignal(code - SIGNALLED) or ""
        elif code:
            how = f"Exited with exit code {code}"
        else:
            return
        sys.stderr.write(f"srun: error: {self._node(rank)}: task {rank}: {how}\n")

    def _node(self, rank: int) -> str:
        return f"node{rank * self.nodes // self.tasks + 1}"

    def _start(self, rank: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(name, signal.SIG_DFL)
            self._redirect(rank)
            os.chdir(self.options.get("chdir", "."))
            os.execvpe(self.command[0], self.command, self._environment(rank))
        except OSError as error:
            os.write(2, f"slurmstepd: error: execve(): {self.command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(2)

    def _redirect(self, rank: int) -> None:
        symbols = {"j": str(self.job_id), "s": str(self.number), "t": str(rank), "N": self._node(rank), "n": "0"}
        if rank or self.options.get("input") == "none":
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = self.options.get("output")
        error = self.options.get("error", "" if output else None)
        append = os.O_APPEND if self.options.get("open-mode", "").startswith("a") else os.O_TRUNC
        if output:
            os.dup2(os.open(file_name(output, symbols), os.O_WRONLY | os.O_CREAT | append, 0o644), 1)
        if error:
            os.dup2(os.open(file_name(error, symbols), os.O_WRONLY | os.O_CREAT | append, 0o644), 2)
        elif error == "":
            os.dup2(1, 2)

    def _environment(self, rank: int) -> dict[str, str]:
        values = {
            processes.STEP_MARK: self.mark.partition("=")[2],
            "SLURMD_NODENAME": self._node(rank),
            "SLURM_LOCALID": str(rank - self._first_rank(rank)),
            "SLURM_NODEID": str(rank * self.nodes // self.tasks),
            "SLURM_NTASKS": str(self.tasks),
            "SLURM_PROCID": str(rank),
            "SLURM_STEPID": str(self.number),
            "SLURM_STEP_ID": str(self.number),
            "SLURM_STEP_NODELIST": text.node_list(self.nodes),
            "SLURM_STEP_NUM_NODES": str(self.nodes),
            "SLURM_STEP_NUM_TASKS": str(self.tasks),
            "SLURM_STEP_TASKS_PER_NODE": str(max(1, self.tasks // self.nodes)),
        }
        if "cpus-per-task" in self.options:
            values["SLURM_CPUS_PER_TASK"] = self.options["cpus-per-task"]
        return {**os.environ, **values}

    def _first_rank(self, rank: int) -> int:
        return min(other for other in range(self.tasks) if self._node(other) == self._node(rank))


def _code(status: int) -> int:
    return SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
