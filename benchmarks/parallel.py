"""Twenty assets in Dagster's multiprocess executor, eight at a time."""

from __future__ import annotations

import json
import os

from benchmarks import place
from benchmarks.figures import median, seconds
from benchmarks.place import Sshd
from benchmarks.table import Result
from testcluster import Cluster

SLEEP = 1.0


def multiprocess(cluster: Cluster, *, quick: bool) -> list[Result]:
    """On sshds that give ten sessions per connection, three, and one."""
    os.environ["BENCH_SLEEP"] = str(SLEEP)
    own: list[float] = []
    results = [_row(cluster, own, 1 if quick else 3)]
    for sessions in () if quick else (3, 1):
        with place.cluster(f"-s{sessions}", max_sessions=sessions, accounting=False) as scarce:
            results.append(_row(scarce, own, 2))
    return results


def _row(cluster: Cluster, own: list[float], times: int) -> Result:
    ours: list[float] = []
    logins: list[int] = []
    sessions: list[int] = []
    for _ in range(times):
        own.append(_graph(cluster, "own"))
        place.log_out(cluster)
        sshd = Sshd(cluster)
        ours.append(_graph(cluster, "ours"))
        logins.append(sshd.logins)
        sessions.append(sshd.sessions)
    a, b = median(own), median(ours)
    most = cluster.options.max_sessions
    return Result(
        f"20 assets, 8 processes, MaxSessions {most}",
        f"{max(logins)} login, {b:.1f} s",
        "1 login, 1.1 x",
        max(logins) == 1 and b / a <= 1.1,
        f"{a:.1f} s",
        b / a,
        f"raw: Dagster's own with ops that sleep {seconds(SLEEP)}; {times} runs, {max(sessions)} sessions",
    )


def _graph(cluster: Cluster, which: str) -> float:
    process = place.start(cluster, "graph", which)
    out, _ = process.communicate(timeout=600)
    answer = json.loads(out.splitlines()[-1])
    if not answer["success"]:
        raise RuntimeError(f"the graph {which!r} failed: see {place.FOLDER}")
    return float(answer["seconds"])
