"""What is worth knowing of a job that has ended, as figures for an asset's metadata. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_slurm.core.picture import picture
from dagster_slurm.core.resources import Resources, mebibytes
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict

Fact = str | int | float

#: one word for the state where only the job's record was asked
_WORD = {"success": "COMPLETED", "exit_code": "FAILED", "signal": "FAILED"}


@dataclass(frozen=True)
class Ended:
    """A job that has ended, or a component of one: what is known of it, and how that was judged."""

    tracked: Tracked
    verdict: Verdict
    resources: Resources
    directory: str
    submitted: float
    component: str = ""


def facts(ended: Ended) -> dict[str, Fact]:
    """Return metadata without its namespace; what is not known is left out."""
    samples, start = ended.tracked.record.samples, ended.tracked.record.start
    found: dict[str, Fact | None] = {
        **ended.tracked.record.facts,
        "job_id": ended.tracked.job.partition(".")[0],
        "step": ended.tracked.job if "." in ended.tracked.job else None,
        "state": _state(ended.verdict),
        "exit_code": ended.verdict.code,
        **_place(ended),
        **_time(ended),
        **_memory(ended),
        **_outputs(ended),
        **_gpus(ended),
        "restarts": ended.tracked.record.restart,
        "usage": picture(samples, start.mem if start else 0) if samples else None,
        "run_directory": ended.directory,
        "evidence": ended.verdict.evidence,
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def requested_mebibytes(ended: Ended) -> int | None:
    """Return the memory limit per node in MiB, as far as it is known."""
    start, asked = ended.tracked.record.start, ended.resources
    if start is not None and start.mem:
        return start.mem
    if asked.mem is not None:
        return mebibytes(asked.mem) or None  # 0 is all of a node's, however much that is
    if asked.mem_per_cpu is not None:
        return mebibytes(asked.mem_per_cpu) * (asked.cpus or 1)
    return None


def peak_mebibytes(ended: Ended) -> float | None:
    """Return the payload's peak memory in MiB: by the job's record, or by accounting if that knows more."""
    usage = ended.tracked.record.usage
    peak = max(usage.peak_kib if usage else 0, _accounted(ended, "PeakKiB") or 0)
    return round(peak / 1024, 1) if peak else None


def _state(verdict: Verdict) -> str:
    if verdict.word is not None and verdict.word.state.terminal:
        return verdict.word.word
    return _WORD.get(verdict.cause, verdict.cause.upper())


def _place(ended: Ended) -> dict[str, Fact | None]:
    start = ended.tracked.record.start
    if start is None:
        return {}
    return {
        "cluster": start.cluster,
        "partition": start.partition,
        "nodes": start.nodes,
        "node_count": start.count,
        "cpus": start.cpus or None,
        "gpus": start.gpus * start.count or None,
    }


def _time(ended: Ended) -> dict[str, Fact | None]:
    start, exit_ = ended.tracked.record.start, ended.verdict.exit
    if start is None:
        return {}
    waited = round(max(start.time - ended.submitted, 0.0), 1) if ended.tracked.asks else None
    if exit_ is None:
        return {"queue_wait_seconds": waited}
    elapsed = max(exit_.time - start.time, 0.0)
    cpu, available = _cpu_seconds(ended), elapsed * (start.cpus or 1) * start.count
    return {
        "queue_wait_seconds": waited,
        "elapsed_seconds": round(elapsed, 2),
        "cpu_seconds": cpu,
        "cpu_efficiency": round(cpu / available, 3) if cpu is not None and available and start.cpus else None,
        "node_hours": round(elapsed * start.count / 3600, 5) if ended.tracked.asks else None,
        "gpu_hours": round(elapsed * start.gpus * start.count / 3600, 5) if start.gpus else None,
    }


def _outputs(ended: Ended) -> dict[str, Fact | None]:
    """Return what there is of results: of one, its place; of several, how much they are together."""
    outputs = ended.tracked.record.outputs
    if not outputs:
        return {}
    return {
        "output_path": outputs[0].path if len(outputs) == 1 else None,
        "output_files": sum(output.files for output in outputs),
        "output_bytes": sum(output.size for output in outputs),
    }


def _cpu_seconds(ended: Ended) -> float | None:
    """Return CPU time: the job's record knows of its first node, accounting of all."""
    start, usage = ended.tracked.record.start, ended.tracked.record.usage
    accounted = _accounted(ended, "CpuSeconds")
    if start is not None and start.count > 1:
        return accounted
    return usage.cpu if usage else accounted


def _gpus(ended: Ended) -> dict[str, Fact | None]:
    """Return how well GPUs were used, where the site gathers that."""
    memory = _accounted(ended, "GpuKiB")
    return {
        "gpu_utilisation_percent": _accounted(ended, "GpuUtilisation"),
        "gpu_peak_memory_mib": None if memory is None else round(memory / 1024, 1),
    }


def _accounted(ended: Ended, name: str) -> float | None:
    """Return a figure of accounting's last word."""
    word = ended.verdict.word
    text = dict(word.facts).get(name) if word is not None else None
    return float(text) if text else None


def _memory(ended: Ended) -> dict[str, Fact | None]:
    peak, asked = peak_mebibytes(ended), requested_mebibytes(ended) if ended.tracked.asks else None
    return {
        "peak_memory_mib": peak,
        "requested_memory_mib": asked,
        "memory_used_of_requested": round(peak / asked, 3) if peak and asked else None,
        "requested_cpus": ended.resources.cpus if ended.tracked.asks else None,
        "requested_time": str(ended.resources.time_limit)
        if ended.tracked.asks and ended.resources.time_limit
        else None,
    }
