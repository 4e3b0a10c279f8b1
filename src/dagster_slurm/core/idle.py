"""What a component's part of a job cost while its payload did not run. Pure."""

from __future__ import annotations

from dagster_slurm.core.facts import Ended, Fact, facts


def component_facts(component: Ended, job: Ended) -> dict[str, Fact]:
    """Return a component's metadata.

    All components are allocated from the start of the job to its end: one that waits for another, or ends before
    another, keeps its nodes idle meanwhile.
    """
    found, whole = facts(component), facts(job)
    found.pop("queue_wait_seconds", None)
    if "queue_wait_seconds" in whole:
        found["queue_wait_seconds"] = whole["queue_wait_seconds"]
    begun, start, ended = job.tracked.record.start, component.tracked.record.start, job.verdict.exit
    if not component.tracked.asks or begun is None or ended is None:
        return found
    worked = float(found.get("elapsed_seconds", 0.0))
    idle = max(ended.time - begun.time - worked, 0.0)
    if start is not None:
        found["waited_for_others_seconds"] = round(max(start.time - begun.time, 0.0), 2)
    found["idle_seconds"] = round(idle, 2)
    count = start.count if start is not None else component.resources.nodes or 1
    gpus = start.gpus if start is not None else component.resources.gpu_count
    found["idle_node_hours"] = round(idle * count / 3600, 5)
    if gpus:
        found["idle_gpu_hours"] = round(idle * gpus * count / 3600, 5)
    return found
