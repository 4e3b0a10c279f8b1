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


def exported(export: str, environment: dict[str, str], config: dict[str, Any], directory: Path) -> dict[str, str]:
    """What --export lets through."""
    words = export.split(",")
    slurm = {name: value for name, value in environment.items() if name.startswith("SLURM_")}
    if words[0] == "ALL":
        kept = dict(environment)
    elif words[0] in {"NONE", "NIL"}:
        kept = {**_login(directory), **config["environment"], **slurm}
        kept.update(SLURM_EXPORT_ENV="NONE", SLURM_GET_USER_ENV="1")
    else:
        kept = {**_login(directory), **config["environment"], **slurm, "SLURM_EXPORT_ENV": export}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            kept[name] = value
        elif name in environment:
            kept[name] = environment[name]
    kept.pop(MARK, None)
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
        "SLURM_MEM_PER_NODE": str(job.memory),
        "SLURM_NNODES": str(job.nodes),
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": job.node_list,
        "SLURM_NTASKS": str(job.ntasks),
        "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": job.workdir,
        "SLURM_SUBMIT_HOST": os.uname().nodename,
        "SLURM_TASKS_PER_NODE": f"{max(1, job.ntasks // job.nodes)}{times}",
        "SLURM_TASK_PID": str(pid),
    }
    if job.restarts:
        values["SLURM_RESTART_COUNT"] = str(job.restarts)
    return {name: value for name, value in values.items() if value}
