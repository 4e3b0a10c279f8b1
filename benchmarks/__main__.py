"""`python -m benchmarks [--quick] [--row NAME]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable

import psutil

from benchmarks import clusters, environments, parallel, place, sessions, single, together, warm, watching
from benchmarks.table import Result, render
from testcluster import Cluster

Measure = Callable[[Cluster, bool], list[Result]]

#: each is measured on its own; `--quick` leaves out those that take minutes
ROWS: dict[str, tuple[Measure, bool]] = {
    "noop-slurm": (lambda cluster, quick: single.slurm_noop(cluster, quick=quick), True),
    "two-components": (lambda cluster, quick: together.two_noops(cluster, quick=quick), True),
    "noop-local": (lambda _, quick: single.local_noop(quick=quick), True),
    "one-process": (lambda cluster, quick: single.in_one_process(cluster, quick=quick), True),
    "noop-session": (lambda cluster, quick: sessions.noop(cluster, quick=quick), True),
    "session-process": (lambda cluster, quick: sessions.in_one_process(cluster, quick=quick), True),
    "talking": (lambda cluster, quick: watching.talking(cluster, quick=quick), True),
    "ray": (lambda cluster, quick: clusters.ray(cluster, quick=quick), False),
    "ray-warm": (lambda cluster, quick: warm.ray(cluster, quick=quick), False),
    "spark": (lambda cluster, quick: clusters.spark(cluster, quick=quick), False),
    "queries": (lambda cluster, quick: watching.queries(cluster, quick=quick), False),
    "environments": (lambda cluster, quick: environments.environments(cluster, quick=quick), False),
    "multiprocess": (lambda cluster, quick: parallel.multiprocess(cluster, quick=quick), False),
    "hundred": (lambda cluster, quick: watching.hundred_quiet(cluster, quick=quick), False),
    "hundred-talking": (lambda cluster, quick: watching.hundred_talking(cluster, quick=quick), False),
}
#: how busy others may keep this machine, in percent, before a row is marked
_BUSY = 20.0


def main() -> int:
    """Measure, and print the table; the exit code says whether all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of it, with fewer repetitions: two minutes")
    parser.add_argument("--row", action="append", choices=sorted(ROWS), help="only this one (may be repeated)")
    given = parser.parse_args()
    names = given.row or [name for name, (_, fast) in ROWS.items() if fast or not given.quick]
    begun, results = time.monotonic(), list[Result]()
    place.FOLDER.mkdir(exist_ok=True)
    with place.cluster() as cluster:
        for name in names:
            print(f"  {name} ...", flush=True)
            busy = psutil.cpu_percent(interval=2.0)
            with place.quietly():
                found = ROWS[name][0](cluster, given.quick)
            results += [dataclasses.replace(result, disturbed=busy > _BUSY) for result in found]
        place.log_out(cluster)
    _report(results, time.monotonic() - begun)
    return 0 if all(result.met for result in results) else 1


def _report(results: list[Result], took: float) -> None:
    cores, load = os.cpu_count(), os.getloadavg()[1]
    print(f"\n{render(results)}\n")
    print(f"{platform.machine()}, {cores} cores shared by client, login node and all compute nodes; {took:.0f} s")
    print(f"load average of the last 5 minutes: {load:.1f}")
    text = json.dumps([dataclasses.asdict(result) for result in results], indent=1)
    (place.FOLDER / "results.json").write_text(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
