"""A program: runs the graph of 20 assets in Dagster's multiprocess executor, and prints the seconds it took."""

from __future__ import annotations

import json
import sys
import time

import dagster as dg

from benchmarks import assets


def main(which: str) -> None:
    """Run one of the two jobs."""
    job = dg.reconstructable(assets.ours if which == "ours" else assets.own)
    with dg.DagsterInstance.get() as instance:
        begun = time.perf_counter()
        result = dg.execute_job(job, instance=instance)
        print(json.dumps({"seconds": time.perf_counter() - begun, "success": result.success}))


if __name__ == "__main__":
    main(sys.argv[1])
