"""Three scenes at the end of `make demo-slurm`: Dagster dies, memory runs out, the queue is long."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from progress import Progress
from rich.console import Console
from rich.markup import escape
from scenes.definitions import defs

from testcluster import Cluster

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0


def show(cluster: Cluster) -> bool:
    """Play all scenes; return whether each ended as it should."""
    console = Console(highlight=False, soft_wrap=True)
    well = True
    scenes: list[tuple[str, Callable[[Console, Cluster], bool]]] = [
        ("Dagster is killed in mid-job, and started again", killed),
        ("A job runs out of memory", out_of_memory),
        ("A job waits in the queue", waiting),
    ]
    for number, (title, play) in enumerate(scenes, 1):
        begun = time.monotonic()
        console.print(f"\n[bold]Scene {number}: {title}[/]")
        good = play(console, cluster)
        end = "as it should" if good else "[red]not as it should[/]"
        console.print(f"[dim]Scene {number} took {time.monotonic() - begun:.0f} s, and ended {end}.[/]")
        well = well and good
    return well


def killed(console: Console, cluster: Cluster) -> bool:
    """SIGKILL for Dagster's process; the next one finds the job again."""
    before = _submitted(cluster)
    with dg.DagsterInstance.get() as instance:
        run = str(uuid.uuid4())
        with subprocess.Popen([sys.executable, str(HERE / "worker.py"), "first", run], **_QUIETLY) as worker:
            began = _until(lambda: _saying(instance, run, " began on "))
            worker.kill()
        _tell(console, instance, run)
        job = began.split()[1]
        console.print(f"  [red]kill -9 {worker.pid}[/]: this Dagster is gone")
        console.print(f"  Slurm says of job {job}: {_state(cluster, job)}")
        instance.report_run_failed(instance.get_run_by_id(run), "Its process was killed.")
        console.print("  a new Dagster runs the failed run again:")
        again = [sys.executable, str(HERE / "worker.py"), "again", run]
        said = subprocess.run(again, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
        retry = said.split()[-1] if said.split() else ""
        _tell(console, instance, retry)
        log = "\n".join(_log(instance, retry))
    submitted = _submitted(cluster) - before
    console.print(f"  jobs of this asset that Slurm got from both: {submitted}")
    return f"Re-attached to job {job} " in log and "nothing was submitted" in log and submitted == 1


def out_of_memory(console: Console, cluster: Cluster) -> bool:
    """The kernel kills the payload at its limit."""
    if not cluster.confines_memory:
        console.print("  left out: this host lets nobody limit memory (no cgroups), so nothing would be killed")
        return True
    progress = Progress()
    progress.run(defs, "hungry_job")
    failure = progress.failures.get("hungry", "")
    return all(words in failure for words in ("ran out of memory", "asked for 100 MiB", "mem='200M'", "node: node"))


def waiting(console: Console, cluster: Cluster) -> bool:
    """Somebody else has all nodes for a minute."""
    nodes = str(cluster.options.nodes)
    blocking = ["sbatch", "--parsable", "-N", nodes, "--exclusive", "-t", "1", "-J", "others", "--wrap", "sleep 60"]
    other = cluster.run(blocking).stdout.strip()
    _until(lambda: "RUNNING" in _state(cluster, other))
    console.print(f"  job {other}, somebody else's, has all {nodes} nodes for a minute")
    said: list[str] = []

    def hear(entry: dg.EventLogEntry) -> None:
        if "waits in the queue" in entry.user_message:
            said.append(entry.user_message)
            cluster.run(["scancel", other])

    progress = Progress(hear)
    try:
        went_well = progress.run(defs, "latecomer_job")
    finally:
        cluster.run(["scancel", other])
    console.print("  (the other job was ended early, so that nobody has to wait for this)")
    return went_well and any("expected to start at" in text for text in said)


_QUIETLY = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def _log(instance: dg.DagsterInstance, run: str) -> list[str]:
    """What was said in a run, Dagster's own events left out."""
    if not run:
        return []
    return [entry.user_message for entry in instance.all_logs(run) if entry.dagster_event is None]


def _saying(instance: dg.DagsterInstance, run: str, words: str) -> str:
    return next((text for text in _log(instance, run) if words in text), "")


def _tell(console: Console, instance: dg.DagsterInstance, run: str) -> None:
    for text in _log(instance, run):
        if not text.startswith("[pipes]"):
            console.print(f"    [cyan]{escape(text.splitlines()[0])}[/]")


def _until(look: Callable[[], object]) -> str:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        found = look()
        if found:
            return str(found)
        time.sleep(0.2)
    raise TimeoutError("the cluster did not get so far in time")


def _state(cluster: Cluster, job: str) -> str:
    return cluster.run(["squeue", "-h", "-t", "all", "-j", job, "-o", "%T on %N"]).stdout.strip()


def _submitted(cluster: Cluster) -> int:
    """How many jobs of the first scene's asset Slurm knows."""
    names = cluster.run(["squeue", "-h", "-t", "all", "-o", "%j"]).stdout.split()
    return sum(name.startswith("patient_count") for name in names)
