"""sbatch's options by name: which there are, which are ours, and which are fields of :class:`.Resources`.

Source: sbatch(1) of Slurm 22.05 to 26.05.
"""

from __future__ import annotations

import difflib

from dagster_slurm.errors import ConfigurationError

#: options that have a field of their own
FIELDS = {
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
    "B": "extra-node-info",
    "D": "chdir",
    "F": "nodefile",
    "J": "job-name",
    "Q": "quiet",
    "S": "core-spec",
    "W": "wait",
    "a": "array",
    "e": "error",
    "i": "input",
    "m": "distribution",
    "o": "output",
    "v": "verbose",
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
    "clusters": "a job is watched where its host looks by itself: give each cluster a SlurmResource of its own",
    "kill-on-invalid-dep": "set dependency alone",
}
_OTHERS = """
    acctg-freq batch bb bbf begin cluster-constraint comment consolidate-segments container container-id
    contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu deadline delay-boot dependency distribution
    exclusive extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-socket gpus-per-task gres-flags hint
    hold ignore-pbs licenses mail-type mail-user mcs-label mem-bind mem-per-gpu mincpus network nice no-kill
    no-requeue nodefile ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket oom-kill-step
    overcommit oversubscribe power prefer priority profile propagate qos reboot requeue resv-ports segment
    sockets-per-node spread-job stepmgr switches thread-spec threads-per-core time-min tmp tres-bind
    tres-per-task uid use-min-nodes verbose wait-all-nodes wckey x11
""".split()
KNOWN = frozenset(FIELDS) | frozenset(_OTHERS)


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
