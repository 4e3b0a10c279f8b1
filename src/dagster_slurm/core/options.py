"""sbatch's options by name: which there are, which are ours, and which are fields of :class:`Resources`.

Source: sbatch(1) of Slurm 22.05 to 26.05.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError

OptionValue = str | int | bool

#: options that have a field of their own
_FIELDS = {
    "partition": "partition",
    "nodes": "nodes",
    "cpus-per-task": "cpus",
    "mem": "mem",
    "mem-per-cpu": "mem_per_cpu",
    "gpus-per-node": "gpus_per_node",
    "time": "time_limit",
    "account": "account",
    "qos": "qos",
    "constraint": "constraint",
    "reservation": "reservation",
    "exclude": "exclude",
    "nodelist": "nodelist",
    "signal": "signal_before_timeout",
    "gres": "gres",
}
#: other names under which users know them
_ALIASES = {
    "p": "partition",
    "N": "nodes",
    "num-nodes": "nodes",
    "c": "cpus-per-task",
    "cpus": "cpus-per-task",
    "memory": "mem",
    "t": "time",
    "time-limit": "time",
    "A": "account",
    "q": "qos",
    "C": "constraint",
    "x": "exclude",
    "w": "nodelist",
    "gpus": "gpus-per-node",
    "signal-before-timeout": "signal",
    "b": "begin",
    "d": "dependency",
    "H": "hold",
    "k": "no-kill",
    "L": "licenses",
    "M": "clusters",
    "cluster": "clusters",
    "n": "ntasks",
    "O": "overcommit",
    "s": "oversubscribe",
    "G": "gpus",
}
#: options that the protocol needs to set itself, each with what to use instead
_OURS = {
    "job-name": "the name is how a job is found again; it begins with the asset's name",
    "output": "standard output is followed live in Dagster",
    "error": "standard error is followed live in Dagster",
    "open-mode": "logs are always appended to",
    "chdir": "the payload runs in the run directory",
    "export": "use extra_env",
    "export-file": "use extra_env",
    "get-user-env": "use prelude for what a login shell would do",
    "array": "use run_partitions",
    "wrap": "use a command as the payload: payload_path=[...]",
    "wait": "waiting is what we do",
    "parsable": "set by us",
    "test-only": "nothing would run",
    "quiet": "set by us",
    "input": "the payload reads no standard input",
    "kill-on-invalid-dep": "set dependency alone",
}
_OTHERS = """
    acctg-freq batch bb bbf begin cluster-constraint clusters comment consolidate-segments container
    container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu deadline delay-boot dependency
    distribution exclusive extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-socket gpus-per-task
    gres-flags hint hold ignore-pbs licenses mail-type mail-user mcs-label mem-bind mem-per-gpu mincpus
    network nice no-kill no-requeue nodefile ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-
    socket oom-kill-step overcommit oversubscribe power prefer priority profile propagate qos reboot requeue
    resv-ports segment sockets-per-node spread-job spank stepmgr switches thread-spec threads-per-core tmp
    tres-bind tres-per-task use-min-nodes verbose wckey x11 uid
""".split()
KNOWN = frozenset(_FIELDS) | frozenset(_OTHERS)


def canonical(name: str) -> str:
    """Return an option's long name as sbatch spells it.

    Raises:
        ConfigurationError: there is no such option (the nearest are named), or it is one that we set ourselves.
    """
    plain = name.strip().lstrip("-").replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    if plain in _OURS:
        raise ConfigurationError(f"the sbatch option --{plain} cannot be set", hint=_OURS[plain] + ".")
    if plain not in KNOWN:
        raise ConfigurationError(f"sbatch has no option {name!r}", hint=suggestion(plain, KNOWN | frozenset(_ALIASES)))
    return plain


def suggestion(name: str, valid: frozenset[str]) -> str:
    """Return a sentence that names the valid words nearest to a wrong one."""
    near = difflib.get_close_matches(name, sorted(valid), n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(word) for word in near)}?"
    return f"Known are: {', '.join(sorted(valid))}."


def from_options(options: Mapping[str, Any] | None) -> Resources:
    """Return the resources that a mapping of sbatch options or field names describes.

    ``extra_slurm_opts={"cpus_per_task": 4, "mem": "8G", "exclusive": True}``: names with ``-`` or ``_``, long or short.

    Raises:
        ConfigurationError: an unknown option, or a value that sbatch would not understand.
    """
    fields: dict[str, Any] = {}
    others: dict[str, OptionValue] = {}
    for name, value in (options or {}).items():
        if value is None:
            continue
        if name == "gpu_directive":
            fields[name] = value
            continue
        option = canonical(name)
        target = _FIELDS.get(option)
        if target is None:
            others[option] = value
        elif target in fields:
            raise ConfigurationError(f"--{option} is given twice", hint="Give it once.")
        else:
            fields[target] = _number(target, value)
    return Resources(**fields, options=others)


def checked(resources: Resources) -> Resources:
    """Return resources whose further options are spelled as sbatch does, or moved to the fields that they are."""
    return from_options(resources.options).over(dataclasses.replace(resources, options={}))


def from_requirements(requirements: Mapping[str, Any] | None) -> Resources:
    """Return the resources for ``resource_requirements={"cpus": 8, "gpus": 1, "memory_gb": 32, "framework": "ray"}``.

    Raises:
        ConfigurationError: an unknown key.
    """
    known = frozenset({"framework", "cpus", "gpus", "memory_gb", "nodes", "time_limit"})
    wanted = dict(requirements or {})
    for name in wanted:
        if name not in known:
            raise ConfigurationError(f"resource_requirements has no {name!r}", hint=suggestion(name, known))
    memory, gpus = wanted.get("memory_gb"), wanted.get("gpus")
    return Resources(
        cpus=wanted.get("cpus"),
        gpus_per_node=gpus or None,
        mem=None if memory is None else int(float(memory) * 1024),
        nodes=wanted.get("nodes"),
        time_limit=wanted.get("time_limit"),
    )


def _number(name: str, value: Any) -> Any:
    """Take ``"4"`` for 4 where a count is meant, as it comes from environment variables and YAML."""
    return int(value) if name in ("nodes", "cpus") and isinstance(value, str) and value.isdigit() else value
