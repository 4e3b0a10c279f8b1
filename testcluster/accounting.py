"""Entries of the accounting database: cluster, account, user, limits."""

from __future__ import annotations

from testcluster.execute import ClusterError, wait_for
from testcluster.machine import Machine
from testcluster.slurm_conf import ACCOUNT


def set_up(machine: Machine) -> None:
    """Register cluster and user, once."""
    layout, options = machine.layout, machine.options
    done = layout.database / "registered"
    if done.exists():
        return
    # slurmdbd accepts connections a moment before it can answer
    wait_for("slurmdbd", lambda: _sacctmgr(machine, "show", "cluster"), timeout=30)
    _add(machine, "cluster", options.name)
    _add(machine, "account", ACCOUNT, "Description=tests", "Organization=tests")
    _add(machine, "user", layout.user, f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}")
    if options.max_submit_jobs:
        _sacctmgr(machine, "modify", "qos", "normal", "set", f"MaxSubmitJobsPerUser={options.max_submit_jobs}")
    done.touch()


def _add(machine: Machine, kind: str, name: str, *arguments: str) -> None:
    try:
        _sacctmgr(machine, "add", kind, name, *arguments)
    except ClusterError:
        # An `up` that was killed here may have added it: sacctmgr calls that an error.
        if name not in _sacctmgr(machine, "show", kind, f"format={kind}").split():
            raise


def _sacctmgr(machine: Machine, *arguments: str) -> str:
    return machine.run(["sacctmgr", "--immediate", "--noheader", "--parsable2", *arguments])
