"""Writes what a real Slurm says into ``recorded/<version>/``, for the tests that read it.

    python3 -m tests.schedulers.record 22.05            # the host's Slurm
    python3 -m tests.schedulers.record 24.11 trixie     # Debian 13's

Brings up clusters of its own and takes them down; four minutes. Each scenario is one job; ``<scenario>.squeue``,
``.sacct`` and ``.scontrol`` are the answers to :class:`~dagster_slurm.schedulers.slurm.Slurm`'s own commands (scontrol:
to ``show job -o``). The id of the job is the first line's first field; ``refused.<what>`` holds what sbatch said.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dagster_slurm.remote.queues import base_id, rows_of
from dagster_slurm.schedulers.slurm import Slurm
from testcluster import Cluster, ClusterOptions, down, up

_RECORDED = Path(__file__).parent / "recorded"
_EATER = "python3 -c 'x = bytearray(300 << 20); import time; time.sleep(9)'"


class Recorder:
    """Runs scenarios on one cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    def submit(self, script: str, *options: str) -> str:
        command = ["sbatch", "--parsable", "--output=/dev/null", "--mem=50", "-t1", f"--wrap={script}", *options]
        done = self.cluster.run(command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def state(self, job: str) -> str:
        return self.cluster.run(["squeue", "-h", "--states=all", "-j", job, "-o", "%T"]).stdout.strip()

    def until(self, job: str, *states: str, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while not set(self.state(job).split()) & set(states):
            assert time.monotonic() < deadline, (job, self.state(job), states)
            time.sleep(0.1)

    def save(self, scenario: str, job: str, *, settle: float = 0.0) -> None:
        """Write down what is said of a job now."""
        time.sleep(settle)
        base = base_id(job)
        accounting = [word.replace("{ids}", base) for word in Slurm.accounting]
        answers = {
            "squeue": list(Slurm.queue),
            "sacct": accounting,
            "scontrol": ["scontrol", "show", "job", "-o", base],
        }
        for kind, command in answers.items():
            done = self.cluster.run(command)
            self._write(f"{scenario}.{kind}", self._own(done.stdout, base, kind) or done.stderr)
        print(f"  {scenario}: {self.state(base).split()}", flush=True)

    def refused(self, what: str, *options: str) -> None:
        done = self.cluster.run(["sbatch", "--parsable", "--output=/dev/null", *options, "--wrap=true"])
        self._write(f"refused.{what}", done.stderr or f"accepted: {done.stdout}")
        print(f"  refused {what}: {done.returncode} {done.stderr.splitlines()[:1]}", flush=True)
        if done.returncode == 0:
            self.cluster.run(["scancel", done.stdout.strip()])

    def cancel_all(self) -> None:
        self.cluster.run(["scancel", "--signal=KILL", "--user", self.cluster.user])
        self.cluster.run(["scancel", "--user", self.cluster.user])
        time.sleep(1)

    def _own(self, text: str, base: str, kind: str) -> str:
        if kind == "scontrol":
            return text
        return "".join(row + "\n" for row in rows_of(text, {base}))

    def _write(self, name: str, text: str) -> None:
        text = text.replace(str(self.cluster.home), "/home/ada").replace(self.cluster.user, "ada")
        (self.folder / name).write_text(text)


def waiting(on: Recorder) -> None:
    """Jobs that wait, each for another reason."""
    full = on.submit("sleep 60", "-N4", "--exclusive", "--job-name=full")
    on.until(full, "RUNNING")
    waits = {
        "pending_resources": on.submit("true", "-N4", "--exclusive"),
        "pending_priority": on.submit("true", "-N4", "--exclusive"),
        "pending_dependency": on.submit("true", f"--dependency=afterok:{full}"),
        "pending_begin": on.submit("true", "--begin=now+1hour"),
        "pending_held": on.submit("true", "--hold"),
        "pending_array": on.submit("true", "--array=0-3%2", "-N4", "--exclusive"),
    }
    time.sleep(3)
    for scenario, job in waits.items():
        on.save(scenario, job)
    on.cluster.run(["scancel", waits["pending_held"]])
    on.save("cancelled_pending", waits["pending_held"], settle=2)
    on.cancel_all()


def ordinary(on: Recorder) -> None:
    """Jobs that run and end."""
    running = on.submit("sleep 60", "-c2", "--gres=gpu:2", "-p", "gpu")
    on.until(running, "RUNNING")
    on.save("running", running, settle=1)
    on.cluster.admin(["scontrol", "suspend", running])
    on.save("suspended", running, settle=0.5)
    on.cluster.admin(["scontrol", "resume", running])
    stubborn = on.submit("trap '' TERM; sleep 60 & wait; sleep 60")
    on.until(stubborn, "RUNNING")
    time.sleep(1)
    on.cluster.run(["scancel", stubborn])
    on.until(stubborn, "COMPLETING", "CANCELLED")
    on.save("completing", stubborn)
    ends = {
        "completed": on.submit("true"),
        "failed": on.submit("exit 3"),
        "killed": on.submit("kill -9 $$"),
        "array": on.submit("exit $SLURM_ARRAY_TASK_ID", "--array=0-2"),
        "step_failed": on.submit("srun -n1 bash -c 'exit 7'; srun -n1 true; exit 0"),
    }
    for job in ends.values():
        on.until(job, "COMPLETED", "FAILED")
    time.sleep(2)
    for scenario, job in ends.items():
        on.save(scenario, job)
    on.cluster.run(["scancel", running])
    on.until(running, "CANCELLED")
    on.save("cancelled", running, settle=2)
    het = on.submit("sleep 2", ":", "--mem=60")
    on.until(het, "RUNNING")
    on.save("het", het)


def memory(on: Recorder) -> None:
    """Jobs that take more than they asked for."""
    batch, step = on.submit(_EATER, "--mem=60"), on.submit(f"srun {_EATER}", "--mem=60")
    quiet = on.submit(f"{_EATER}; exit 0", "--mem=60")
    for scenario, job in (("oom_batch", batch), ("oom_step", step), ("oom_survived", quiet)):
        on.until(job, "OUT_OF_MEMORY", "FAILED", "COMPLETED")
        on.save(scenario, job, settle=2)


def again(on: Recorder) -> None:
    """Jobs that are started again, and nodes that fail."""
    back = on.submit("sleep 60", "--requeue")
    on.until(back, "RUNNING")
    time.sleep(1)
    on.cluster.admin(["scontrol", "requeue", back])
    on.save("requeued_at_once", back)
    on.until(back, "PENDING")
    on.save("requeued", back, settle=1)
    on.until(back, "RUNNING")
    on.save("requeued_running", back, settle=1)
    on.cluster.run(["scancel", back])
    on.until(back, "CANCELLED")
    on.save("requeued_cancelled", back, settle=2)
    for scenario, option in (("node_fail", "--no-requeue"), ("node_fail_requeued", "--requeue")):
        job = on.submit("sleep 60", option, "-wnode2")
        on.until(job, "RUNNING")
        time.sleep(1)
        on.cluster.fail("node2")
        on.save(f"{scenario}_at_once", job)
        on.save(scenario, job, settle=2)
        time.sleep(3)  # the node is healthy and returns
    on.cancel_all()


def refusals(on: Recorder) -> None:
    """Submissions that Slurm does not take."""
    on.refused("partition", "-pnope")
    on.refused("account", "-Anope")
    on.refused("qos", "-qnope")
    on.refused("time_format", "-tnope")
    on.refused("memory", "--mem=90T")
    on.refused("memory_format", "--mem=lots")
    on.refused("cpus", "-c900")
    on.refused("gres", "--gres=unicorn:2")
    on.refused("constraint", "-Cunicorn")
    on.refused("reservation", "--reservation=unicorn")
    on.refused("nodelist", "-wunicorn")
    on.refused("dependency", "-dafterok:999999")
    on.refused("option", "--unicorn")
    on.refused("qos_wall", "-t600", "--qos=tight")
    on.refused("qos_cpus", "-c8", "--qos=tight")
    jobs = [on.submit("sleep 30", "--qos=tight", "--hold")]
    on.refused("submit_limit_qos", "-t1", "--qos=tight")
    on.cluster.admin(["sacctmgr", "-i", "modify", "user", on.cluster.user, "set", "MaxSubmitJobs=1"])
    time.sleep(1)
    on.refused("submit_limit_user")
    on.cluster.admin(["sacctmgr", "-i", "modify", "user", on.cluster.user, "set", "MaxSubmitJobs=-1"])
    for job in jobs:
        on.cluster.run(["scancel", job])
    on.save("unknown", "999999")
    on.cluster.stop("slurmctld")
    on.refused("controller_down")
    on.cluster.start("slurmctld")


def time_limit(on: Recorder) -> None:
    """A job that reaches its limit: the least is a minute."""
    job = on.submit("trap 'exit 0' TERM; sleep 90 & wait", "-t1")
    on.until(job, "TIMEOUT", timeout=180)
    on.save("timeout", job, settle=2)


def partition_limits(on: Recorder) -> None:
    """Submissions that partitions do not take."""
    on.refused("time", "-t5-00:00:00", "-pshort")
    on.refused("nodes", "-N90")
    (on.folder / "sbatch.help").write_text(on.cluster.run(["sbatch", "--help"]).stdout)


def no_hetjobs(on: Recorder) -> None:
    """A heterogeneous job where the backfill scheduler is not at work."""
    (on.cluster.home / "job.sh").write_text("#!/bin/bash\n#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N1\ntrue\n")
    done = on.cluster.run(["sbatch", "--parsable", "--output=/dev/null", str(on.cluster.home / "job.sh")])
    assert done.returncode
    (on.folder / "hetjob.refused").write_text(done.stderr)


def preempted(on: Recorder) -> None:
    """A job that makes way."""
    job = on.submit("sleep 60", "-N4", "--exclusive", "--requeue")
    on.until(job, "RUNNING")
    time.sleep(1)
    other = on.submit("sleep 3", "-purgent", "-N4", "--exclusive")
    on.until(other, "RUNNING", "COMPLETED")
    mode = on.cluster.options.preemption
    on.save(f"preempted_{mode}_at_once", job)
    on.save(f"preempted_{mode}", job, settle=3)
    on.cancel_all()


def record(release: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    short = ("PartitionName=short Nodes=ALL MaxTime=10 State=UP",)
    groups: list[tuple[dict[str, object], tuple[Callable[[Recorder], None], ...]]] = [
        ({"requeue_delay": 5, "slurm_conf": short}, (ordinary, refusals, waiting, memory, again, time_limit)),
        (
            {"preemption": "requeue", "requeue_delay": 5, "slurm_conf": (*short, "EnforcePartLimits=ALL")},
            (preempted, partition_limits),
        ),
        ({"preemption": "cancel"}, (preempted,)),
        ({"accounting": False, "slurm_conf": ("SchedulerType=sched/builtin",)}, (no_hetjobs,)),
    ]
    for number, (options, scenarios) in enumerate(groups):
        name = f"rec{number}-{release}"[:16]
        try:
            cluster = up(ClusterOptions(name=name, release=release, **options))  # pyright: ignore[reportArgumentType]
            on = Recorder(cluster, folder)
            if number == 0:
                limits = ["MaxWall=00:10:00", "MaxTRESPerUser=cpu=4", "MaxSubmitJobsPerUser=1", "Flags=DenyOnLimit"]
                cluster.admin(["sacctmgr", "-i", "add", "qos", "tight", *limits])
                cluster.admin(["sacctmgr", "-i", "modify", "user", cluster.user, "set", "qos+=tight"])
                time.sleep(2)
            for scenario in scenarios:
                print(scenario.__doc__, flush=True)
                scenario(on)
        finally:
            down(name)


if __name__ == "__main__":
    try:
        record(sys.argv[2] if len(sys.argv) > 2 else "host", _RECORDED / sys.argv[1])
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
