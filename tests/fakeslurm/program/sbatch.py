"""`sbatch`: read the options, write the job down, start its supervisor."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from . import faults, script, text
from .accept import job_from
from .environment import exported
from .options import Grammar, UsageError
from .spawn import start_supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .job import Job
    from .state import State

OPTIONS = """
a array=
A account=
bb=
bbf=
b begin=
D chdir=
cluster-constraint=
M clusters=
comment=
C constraint=
container=
contiguous
S core-spec=
cores-per-socket=
cpu-freq=
cpus-per-gpu=
c cpus-per-task=
deadline=
delay-boot=
d dependency=
m distribution=
e error=
x exclude=
exclusive?
export=
export-file=
B extra-node-info=
get-user-env?
gid=
gpu-bind=
gpu-freq=
G gpus=
gpus-per-node=
gpus-per-socket=
gpus-per-task=
gres=
gres-flags=
h help
hint=
H hold
I immediate?
i input=
J job-name=
kill-on-invalid-dep=
L licenses=
mail-type=
mail-user=
mcs-label=
mem=
mem-bind=
mem-per-cpu=
mem-per-gpu=
mincpus=
network=
nice?
k no-kill?
no-requeue
F nodefile=
w nodelist=
N nodes=
n ntasks=
ntasks-per-core=
ntasks-per-gpu=
ntasks-per-node=
ntasks-per-socket=
open-mode=
o output=
O overcommit
s oversubscribe
parsable
p partition=
power=
priority=
profile=
propagate?
q qos=
Q quiet
reboot
requeue
reservation=
signal=
sockets-per-node=
spread-job
switches=
test-only
thread-spec=
threads-per-core=
t time=
time-min=
tmp=
uid=
usage
use-min-nodes
v verbose
V version
W wait
wait-all-nodes=
wckey=
wrap=
"""
# environment variable -> option; they win over the script, and the command line over them
VARIABLES = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CLUSTERS": "clusters",
    "SBATCH_EXPORT": "export",
    "SBATCH_JOB_NAME": "job-name",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_NO_REQUEUE": "no-requeue",
    "SBATCH_OPEN_MODE": "open-mode",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_REQUEUE": "requeue",
    "SBATCH_SIGNAL": "signal",
    "SBATCH_TIMELIMIT": "time",
    "SLURM_CLUSTERS": "clusters",
}


def run(state: State, argv: list[str], hits: dict[str, Any]) -> int:
    grammar = Grammar("sbatch", OPTIONS, permute=False, code=255)
    given, words = grammar.parse(argv)
    body, path = _body(dict(given), words)
    script.check(body)
    in_script, _ = grammar.parse(script.directives(body, words[0] if words else path))
    options = merge([*in_script, *_from_environment(), *given])
    _check_cluster(state, options)
    job = job_from(state.config, options, path, words[1:])
    if "refuse" in hits:
        return _refuse(state, job, hits["refuse"]["reason"])
    if job.memory > state.config["mem_per_node"]:
        sys.stderr.write("sbatch: error: Memory specification can not be satisfied\n")
        return _refuse(state, job, "node_configuration")
    if "test-only" in options:
        return _test_only(state, job)
    _submit(state, job, body, options, hits)
    return _reply(state, job, options, hits)


def merge(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Later ones win; --requeue and --no-requeue are one option."""
    options: dict[str, str] = {}
    opposite = {"requeue": "no-requeue", "no-requeue": "requeue"}
    for name, value in pairs:
        options[name] = value
        options.pop(opposite.get(name, ""), None)
    return options


def _from_environment() -> list[tuple[str, str]]:
    return [(option, os.environ[variable]) for variable, option in VARIABLES.items() if variable in os.environ]


def _body(given: dict[str, str], words: list[str]) -> tuple[str, str]:
    if "wrap" in given:
        if words:
            raise UsageError("sbatch: fatal: Script arguments not permitted with --wrap option")
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{given['wrap']}\n", "wrap"
    if not words:
        return sys.stdin.read(), "sbatch"  # the job's name when the script comes from stdin
    path = Path(words[0])
    try:
        return path.read_bytes().decode(errors="surrogateescape"), str(path.absolute())
    except OSError:
        raise UsageError(f"sbatch: error: Unable to open file {words[0]}") from None


def _check_cluster(state: State, options: dict[str, str]) -> None:
    wanted = options.get("clusters", "")
    if wanted and state.config["cluster"] not in wanted.split(","):
        raise UsageError(
            f"sbatch: error: No cluster '{wanted}' known by database.\n"
            f"sbatch: error: '{wanted}' can't be reached now, or it is an invalid entry for --cluster.  "
            "Use 'sacctmgr list clusters' to see available clusters."
        )


def _refuse(state: State, job: Job, reason: str) -> int:
    if reason == "node_configuration":
        _leave_record(state, job)
    meaning = faults.REFUSALS.get(reason, reason)
    if meaning == faults.QOS_POLICY:
        sys.stderr.write(f"sbatch: error: {reason}\n")
    sys.stderr.write(f"sbatch: error: Batch job submission failed: {meaning}\n")
    return 1


def _leave_record(state: State, job: Job) -> None:
    """The controller made a job of it before it looked at the nodes: it can be found by name, as FAILED."""
    job.submit = job.visible_at = time.time()
    job.killed(job.submit, "FAILED", reason="BadConstraints")
    job.exit, job.last_exit = [1, 0], [0, 1]
    with state.lock():
        job.id = state.next_id()
        state.job_directory(job.id).mkdir(mode=0o700)
        state.save(job)


def _test_only(state: State, job: Job) -> int:
    with state.lock():
        number = state.next_id()
    start = text.stamp(time.time(), "")
    sys.stderr.write(
        f"sbatch: Job {number} to start at {start} using {job.ntasks * job.cpus} processors "
        f"on nodes {job.node_list} in partition {job.partition}\n"
    )
    return 0


def _submit(state: State, job: Job, body: str, options: dict[str, str], hits: dict[str, Any]) -> None:
    now = time.time()
    job.visible_at = job.submit = job.eligible = now + hits.get("land_late", {}).get("delay", 0.0)
    _plan_start(state, job, options)
    environment = exported(options.get("export"), dict(os.environ), state.config, state.directory)
    with state.lock():
        job.id = state.next_id()
        directory = state.job_directory(job.id)
        directory.mkdir(mode=0o700)
        (directory / "slurm_script").write_bytes(body.encode(errors="surrogateescape"))
        (directory / "slurm_script").chmod(0o700)
        (directory / "environment.json").write_text(json.dumps(environment))
        (directory / "environment.json").chmod(0o600)
        os.mkfifo(directory / "control")
        job.supervisor = start_supervisor(state, job.id)
        state.save(job, job.visible_at)


def _plan_start(state: State, job: Job, options: dict[str, str]) -> None:
    config = state.config
    if "hold" in options:
        job.begin_at, job.reason = None, "JobHeldUser"
    elif "begin" in options:
        job.begin_at, job.reason = _begin(options["begin"]), "BeginTime"
        job.eligible = job.begin_at
    elif job.nodes > config["nodes"]:
        job.begin_at, job.reason = None, "PartitionConfig"
    elif config["pending_time"] is None:
        job.begin_at, job.reason = None, config["pending_reason"]
    else:
        job.begin_at = job.submit + config["pending_time"]
        job.reason = config["pending_reason"] if config["pending_time"] else "None"


def _begin(value: str) -> float:
    try:
        return text.moment(value, time.time())
    except UsageError as error:
        raise UsageError(f"{error}\nsbatch: error: Invalid --begin specification", 255) from None


def _reply(state: State, job: Job, options: dict[str, str], hits: dict[str, Any]) -> int:
    how = "error" if "land_late" in hits else hits.get("lose_reply", {}).get("how", "")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "error":
        sys.stderr.write(f"{faults.NO_REPLY}\n")
        return 1
    if how == "silent":
        return 0
    cluster = state.config["cluster"]
    named = "clusters" in options
    if "parsable" in options:
        print(f"{job.id};{cluster}" if named or state.config["parsable_cluster"] else job.id)
    else:
        print(f"Submitted batch job {job.id}" + (f" on cluster {cluster}" if named else ""))
    return 0
