"""Entries of the accounting database: cluster, account, user, limits."""

from __future__ import annotations

from testcluster.execute import clean_environment, run, wait_for
from testcluster.layout import Layout
from testcluster.options import ClusterOptions
from testcluster.slurm_conf import ACCOUNT


def set_up(layout: Layout, options: ClusterOptions) -> None:
    """Register cluster and user; entries that exist already stay."""
    # slurmdbd accepts connections a moment before it can answer
    wait_for("slurmdbd", lambda: _sacctmgr(layout, "show", "cluster") is not None, timeout=30)
    _add(layout, options.name, "cluster", options.name)
    _add(layout, ACCOUNT, "account", ACCOUNT, "Description=tests", "Organization=tests")
    _add(layout, layout.user, "user", layout.user, f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}")
    if options.max_submit_jobs:
        _sacctmgr(layout, "modify", "qos", "normal", "set", f"MaxSubmitJobsPerUser={options.max_submit_jobs}")


def _add(layout: Layout, name: str, kind: str, *arguments: str) -> None:
    known = _sacctmgr(layout, "show", kind, "format=" + kind).split()
    if name not in known:
        _sacctmgr(layout, "add", kind, *arguments)


def _sacctmgr(layout: Layout, *arguments: str) -> str:
    env = clean_environment(SLURM_CONF=str(layout.slurm_conf))
    return run(["sacctmgr", "--immediate", "--noheader", "--parsable2", *arguments], env=env)
