"""The long descriptions that `scontrol show` prints."""

from __future__ import annotations

import os
import time

from . import text
from .spawn import output_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Job
    from .state import State

ISO_NONE = "Unknown"


def job(state: State, record: Job, now: float, *, oneline: bool) -> str:
    lines = _lines(state, record, now)
    if oneline:
        return " ".join(lines) + " \n"
    return "\n   ".join(lines) + "\n   \n\n"


def _lines(state: State, job: Job, now: float) -> list[str]:
    word = job.shown_state(now, float(state.config["completing_time"]))
    nodes = job.node_list if job.start else ""
    host = os.uname().nodename
    cpus = job.ntasks * job.cpus
    limit = "UNLIMITED" if job.minutes is None else text.elapsed(job.minutes * 60)
    begin = job.start or job.begin_at or 0.0
    code, number = job.last_exit
    command = " ".join([job.command, *job.script_args]) if job.command else "(null)"
    per = "MinMemoryCPU" if "mem-per-cpu" in job.asked else "MinMemoryNode"
    end = job.end or (begin + job.minutes * 60 if begin and job.minutes else 0.0)
    ran = (job.end or now) - job.start if job.start else 0.0
    output, error = output_paths(job, **{"%": "%%"})  # slurmctld leaves %% as it is
    tres = f"cpu={cpus},mem={text.memory(job.memory)},node={job.nodes},billing={cpus}"
    submitted, eligible = text.stamp(job.submit, ISO_NONE), text.stamp(job.eligible, ISO_NONE)
    return [
        f"JobId={job.id} JobName={job.name}",
        f"UserId={job.user}({job.uid}) GroupId={job.group}({job.gid}) MCS_label=N/A",
        f"Priority={4294901760 - job.id} Nice=0 Account={job.account or '(null)'} QOS={job.qos}",
        f"JobState={word} Reason={job.reason} Dependency=(null)",
        f"Requeue={int(job.requeue)} Restarts={job.restarts} BatchFlag=1 Reboot=0 ExitCode={code}:{number}",
        f"RunTime={text.elapsed(ran)} TimeLimit={limit} TimeMin=N/A",
        f"SubmitTime={submitted} EligibleTime={eligible}",
        f"AccrueTime={eligible}",
        f"StartTime={text.stamp(begin, ISO_NONE)} EndTime={text.stamp(end, ISO_NONE)} Deadline=N/A",
        f"SuspendTime=None SecsPreSuspend=0 LastSchedEval={submitted} Scheduler=Main",
        f"Partition={job.partition} AllocNode:Sid={host}:{job.supervisor}",
        "ReqNodeList=(null) ExcNodeList=(null)",
        f"NodeList={nodes}",
        *([f"BatchHost={text.first_node(nodes)}"] if nodes else []),
        f"NumNodes={job.nodes} NumCPUs={cpus} NumTasks={job.ntasks} CPUs/Task={job.cpus} ReqB:S:C:T=0:0:*:*",
        f"TRES={tres}",
        "Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*",
        f"MinCPUsNode={job.cpus} {per}={text.memory(job.memory)} MinTmpDiskNode=0",
        "Features=(null) DelayBoot=00:00:00",
        "OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null)",
        f"Command={command}",
        f"WorkDir={job.workdir}",
        *([f"Comment={job.comment} "] if job.comment else []),
        f"StdErr={error}",
        "StdIn=/dev/null",
        f"StdOut={output}",
        "Power=",
    ]


def config(state: State) -> str:
    """A selection of `scontrol show config`."""
    settings = state.config
    host = os.uname().nodename
    values = {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "ClusterName": settings["cluster"],
        "KillWait": f"{settings['kill_wait']:g} sec",
        "MaxArraySize": "1001",
        "MaxJobCount": "10000",
        "MinJobAge": f"{settings['min_job_age']:g} sec",
        "PreemptMode": "REQUEUE",
        "SLURM_VERSION": settings["version"],
        "SlurmctldHost[0]": host,
    }
    lines = [f"{name:<23} = {value}" for name, value in values.items()]
    head = f"Configuration data as of {time.strftime(text.ISO)}"
    return "\n".join([head, *lines, "", f"Slurmctld(primary) at {host} is UP", ""])
