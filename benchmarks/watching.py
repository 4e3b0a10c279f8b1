"""How soon one hears what jobs say, and what watching them takes on both sides."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from benchmarks import place
from benchmarks.figures import median, percentile, seconds
from benchmarks.place import Sshd
from benchmarks.table import Result
from testcluster import Cluster

#: why no order of looks gets below that
_ALL_TALK = "1 line, 1 log /s; one process; 200 files at 50 looks/s are read every 4 s"
Pairs = list[list[float]]


def talking(cluster: Cluster, *, quick: bool) -> list[Result]:
    """From the payload to Dagster, for one and for five jobs, each in a process of Dagster's own."""
    results: list[Result] = []
    for jobs in (1, 5):
        _say(seconds=8.0 if quick else 25.0, pause=0.25)
        answers = _answers(*(place.start(cluster, "listener") for _ in range(jobs)))
        # when all are under way
        since = max(min(said for said, _ in answer["lines"]) for answer in answers) + 1.0
        lines, logs = (_delays([a[what] for a in answers], since) for what in ("lines", "logs"))
        results.append(_delay_row(f"line and log to Dagster, {jobs} talking", lines, logs, 0.3, "2 lines, 2 logs /s"))
    return results


def hundred_talking(cluster: Cluster, *, quick: bool) -> list[Result]:
    """A hundred jobs that all talk, followed by one process."""
    _say(seconds=1e4, pause=0.5)
    length = 20 if quick else 60
    (seen,) = _answers(
        place.start(cluster, "watcher", "--jobs=100", "--talking=100", f"--seconds={length}", "--rest=8")
    )
    _end_jobs(cluster)
    lines, logs = (_delays([seen[what]], seen["from"]) for what in ("lines", "logs"))
    return [
        _delay_row("line and log to us, 100 talking", lines, logs, 2.0, _ALL_TALK),
        *_login_node("100 talking jobs", seen),
    ]


def hundred_quiet(cluster: Cluster, *, quick: bool) -> list[Result]:
    """A hundred jobs of which five talk: what that takes here and on the login node."""
    _say(seconds=1e4, pause=0.5)
    sshd, length = Sshd(cluster), 20 if quick else 60
    (seen,) = _answers(
        place.start(cluster, "watcher", "--jobs=100", "--talking=5", f"--seconds={length}", f"--rest={length}")
    )
    _end_jobs(cluster)
    lines, logs = (_delays([seen[what]], seen["from"]) for what in ("lines", "logs"))
    above = seen["above_dagster_mb"]
    return [
        Result(
            "100 jobs, one process: channels, memory",
            f"{sshd.sessions}, {above:.0f} MB",
            "1, 80 MB",
            sshd.sessions == 1 and above < 80,
            remark="above Dagster alone",
        ),
        _delay_row("line and log to us, 5 of 100 talking", lines, logs, 2.0, "1 line, 1 log /s; one process"),
        *_login_node("100 jobs, 5 talking", seen),
    ]


def queries(cluster: Cluster, *, quick: bool) -> list[Result]:
    """How often the scheduler is asked while jobs run, by two processes of one user."""
    _say(seconds=1e4, pause=0.5)
    length = 30 if quick else 60
    arguments = ("--jobs=4", "--talking=1", f"--seconds={length}", "--rest=0")
    count = sum(answer["queries"] for answer in _answers(*(place.start(cluster, "watcher", *arguments) for _ in "ab")))
    _end_jobs(cluster)
    allowed = length / 30
    remark = "4 jobs in each of 2 processes"
    return [
        Result(f"scheduler queries in {length} s", str(count), f"{allowed:.0f}", count <= allowed, "0", remark=remark)
    ]


def _say(seconds: float, pause: float) -> None:
    os.environ["BENCH_SECONDS"], os.environ["BENCH_PAUSE"] = str(seconds), str(pause)


def _answers(*processes: Any) -> list[dict[str, Any]]:
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a measuring program failed: see the logs in {place.FOLDER}")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def _delays(spoken: list[Pairs], since: float) -> list[float]:
    return [heard - said for pairs in spoken for said, heard in pairs if said > since]


def _delay_row(measure: str, lines: list[float], logs: list[float], target: float, rate: str) -> Result:
    worst = max(percentile(lines, 95), percentile(logs, 95))
    text = "; ".join(f"{seconds(median(found))}, {seconds(percentile(found, 95))}" for found in (lines, logs))
    remark = f"p50, p95 of lines; of logs ({len(lines)}; {len(logs)}); {rate}"
    return Result(measure, text, f"p95 {seconds(target)}", worst <= target, remark=remark)


def _login_node(what: str, seen: dict[str, Any]) -> list[Result]:
    operations, cpu, memory = seen["operations"], seen["cpu_per_hour"], seen["agent_mb"]
    return [
        Result(
            f"login node, {what}",
            f"{operations:.0f}/s, {cpu:.0f} s/h, {memory:.0f} MB",
            "50/s, 10 s/h, 100 MB",
            operations <= 50.5 and cpu <= 10 and memory <= 100,
            remark="file operations, CPU (extrapolated), memory",
        )
    ]


def _end_jobs(cluster: Cluster) -> None:
    cluster.admin(["scancel", "--user", cluster.user])
    while cluster.admin(["squeue", "-h"]).strip():
        time.sleep(0.3)
