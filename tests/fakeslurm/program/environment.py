"""What is in the environment of a job."""

from __future__ import annotations

import os
import pwd

from . import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from .job import Job
    from .state import State

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MARK = "FAKESLURM_RUN"  # in the environment of everything that a run starts: how it is found again


def exported(given: str | None, environment: dict[str, str], config: dict[str, Any], directory: Path) -> dict[str, str]:
    """What --export lets through."""
    export = given or "ALL"
    words = export.split(",")
    slurm = {name: value for name, value in environment.items() if name.startswith("SLURM_")}
    if words[0] == "ALL":
        kept = {**environment, **({"SLURM_EXPORT_ENV": export} if given else {})}
    elif words[0] in {"NONE", "NIL"}:
        kept = {**_login(directory), **config["environment"], **slurm}
        kept.update(SLURM_EXPORT_ENV="NONE", SLURM_GET_USER_ENV="1")
    else:
        kept = {**_login(directory), **config["environment"], **slurm}
        kept.update(SLURM_EXPORT_ENV=export, SLURM_GET_USER_ENV="1")
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            kept[name] = value
        elif name in environment:
            kept[name] = environment[name]
    kept.pop(MARK, None)
    kept.setdefault("TMPDIR", "/tmp")
    return kept


def _login(directory: Path) -> dict[str, str]:
    user = pwd.getpwuid(os.getuid())
    return {
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell,
        "PATH": f"{directory.parent / 'bin'}:{PATH}",
    }


def slurm_variables(state: State, job: Job, run: int, pid: int) -> dict[str, str]:
    """What Slurm itself sets in the batch script."""
    node = text.first_node(job.node_list)
    cpus = max(1, job.ntasks * job.cpus // job.nodes)
    times = f"(x{job.nodes})" if job.nodes > 1 else ""
    values = {
        MARK: f"{state.directory}:{job.id}.{run}",
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": node,
        "SLURMD_NODENAME": node,
        "SLURM_CLUSTER_NAME": state.config["cluster"],
        "SLURM_CONF": "/etc/slurm/slurm.conf",
        "SLURM_CPUS_ON_NODE": str(cpus),
        "SLURM_GTIDS": "0",
        "SLURM_JOBID": str(job.id),
        "SLURM_JOB_ACCOUNT": job.account,
        "SLURM_JOB_CPUS_PER_NODE": f"{cpus}{times}",
        "SLURM_JOB_GID": str(job.gid),
        "SLURM_JOB_ID": str(job.id),
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_NODELIST": job.node_list,
        "SLURM_JOB_NUM_NODES": str(job.nodes),
        "SLURM_JOB_PARTITION": job.partition,
        "SLURM_JOB_QOS": job.qos,
        "SLURM_JOB_UID": str(job.uid),
        "SLURM_JOB_USER": job.user,
        "SLURM_LOCALID": "0",
        "SLURM_NNODES": str(job.nodes),
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": job.node_list,
        "SLURM_PRIO_PROCESS": "0",
        "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": job.submit_directory,
        "SLURM_SUBMIT_HOST": os.uname().nodename,
        "SLURM_TASKS_PER_NODE": f"{max(1, job.ntasks // job.nodes)}{times}",
        "SLURM_TASK_PID": str(pid),
        "SLURM_TOPOLOGY_ADDR": node,
        "SLURM_TOPOLOGY_ADDR_PATTERN": "node",
    }
    if job.restarts:
        values["SLURM_RESTART_COUNT"] = str(job.restarts)
    values.update(_as_asked(job))
    return {name: value for name, value in values.items() if value}


def _as_asked(job: Job) -> dict[str, str]:
    """Variables that Slurm sets only for options that were given."""
    values = {
        "cpus-per-task": {"SLURM_CPUS_PER_TASK": str(job.cpus)},
        "mem": {"SLURM_MEM_PER_NODE": str(job.memory)},
        "mem-per-cpu": {"SLURM_MEM_PER_CPU": str(job.memory)},
        "ntasks": {"SLURM_NTASKS": str(job.ntasks), "SLURM_NPROCS": str(job.ntasks)},
        "ntasks-per-node": {"SLURM_NTASKS_PER_NODE": str(job.ntasks // job.nodes), "SLURM_NTASKS": str(job.ntasks)},
    }
    found: dict[str, str] = {}
    for name in job.asked:
        found.update(values.get(name, {}))
    return found
