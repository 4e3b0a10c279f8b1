"""From sbatch's options to a job, with the controller's refusals."""

from __future__ import annotations

import grp
import os
import pwd
import signal

from . import text
from .job import Job
from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# options whose variables appear in the job only if they were given
ASKED = ("ntasks", "ntasks-per-node", "cpus-per-task", "mem", "mem-per-cpu", "export")


def job_from(config: dict[str, Any], options: dict[str, str], path: str, arguments: list[str]) -> Job:
    partition = options.get("partition", config["partitions"][0])
    if partition not in config["partitions"]:
        raise UsageError(
            f"sbatch: error: invalid partition specified: {partition}\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified"
        )
    missing = {"array", "dependency"} & set(options)
    if missing:
        raise UsageError(f"sbatch: error: the fake does not know --{min(missing)}")
    job = Job(partition=partition, command=path if "/" in path else "", script_args=arguments)
    job.name = options.get("job-name", path.rpartition("/")[2])
    _identity(job, config, options)
    _size(job, config, options)
    _files(job, options)
    job.requeue = "no-requeue" not in options
    job.minutes = text.limit_minutes(options["time"]) if "time" in options else None
    if "signal" in options:
        job.warn_batch, job.warn_signal, job.warn_seconds = warning(options["signal"])
    return job


def _identity(job: Job, config: dict[str, Any], options: dict[str, str]) -> None:
    user = pwd.getpwuid(os.getuid())
    job.user, job.uid, job.gid = user.pw_name, user.pw_uid, user.pw_gid
    job.group = grp.getgrgid(user.pw_gid).gr_name
    job.account = options.get("account", str(config["account"]))
    job.qos = options.get("qos", "normal")
    for value, known, problem in (
        (job.account, config["accounts"], "Invalid account or account/partition combination specified"),
        (job.qos, config["qos"], "Invalid qos specification"),
    ):
        if known is not None and value not in known:
            raise UsageError(f"sbatch: error: Batch job submission failed: {problem}")
    job.comment = options.get("comment", "")


def _size(job: Job, config: dict[str, Any], options: dict[str, str]) -> None:
    memory = [name for name in ("mem", "mem-per-cpu", "mem-per-gpu") if name in options]
    if len(memory) > 1:
        raise UsageError("sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.")
    job.nodes = _count(options, "nodes", 1)
    job.ntasks = _count(options, "ntasks", job.nodes * _count(options, "ntasks-per-node", 1))
    job.cpus = _count(options, "cpus-per-task", 1)
    job.memory = text.megabytes(options[memory[0]]) if memory else config["mem_per_node"]
    job.asked = [name for name in ASKED if name in options]
    job.gres = options.get("gres", "")
    job.node_list = text.node_list(job.nodes)


def _count(options: dict[str, str], name: str, default: int) -> int:
    value = options.get(name, str(default)).split("-")[0]
    if not value.isdigit():
        raise UsageError(f'sbatch: error: Invalid numeric value "{value}" for --{name}.')
    return int(value)


def _files(job: Job, options: dict[str, str]) -> None:
    job.submit_directory = os.getcwd()  # noqa: PTH109
    job.workdir = options.get("chdir", job.submit_directory)
    job.output = options.get("output", "slurm-%j.out")
    job.error = options.get("error", "")
    mode = options.get("open-mode", "truncate")
    if mode not in {"append", "a", "truncate", "t"}:
        raise UsageError("sbatch: error: Invalid --open-mode specification", 255)
    job.open_mode = "a" if mode.startswith("a") else "w"


def warning(value: str) -> tuple[bool, int, float]:
    """`[B:]TERM[@seconds]`: to the batch shell, which signal, how long before the end."""
    head, _, seconds = value.partition("@")
    target, colon, name = head.rpartition(":")
    number = int(name) if name.isdigit() else int(getattr(signal, "SIG" + name.upper().replace("SIG", ""), 0))
    if not number or (colon and not set(target) <= {"B", "R"}):
        raise UsageError("sbatch: error: Invalid --signal specification", 255)
    return "B" in target, number, float(seconds or 60)
