"""What dagster-slurm 1.x had under names that this version does not know, and what to write instead. Pure.

What still makes sense works as it did; see docs/migrating.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from dagster_slurm.core.option_names import suggestion
from dagster_slurm.errors import ConfigurationError

_ALLOCATION = (
    'Use mode="slurm-session" with session=SlurmSessionResource(num_nodes=..., time_limit=...): the assets of a run '
    "share its allocation."
)
_KEPT = "SlurmResource(keep_runs_days=..., keep_failed_runs_days=...) says how long run directories are kept."
_METADATA = "All figures of the job are metadata of each materialization, below slurm/; see `Metrics` in the docs."
_PORTS = 'Every port is a free one; RayLauncher(port_config={"port": 6379}) fixes one.'
_BOTH = "ComputeResource(...) has all settings; the client takes slurm_resource and launcher."

#: names of the package
EXPORTS = {
    "SlurmAllocation": _ALLOCATION,
    "SlurmAllocationScope": _ALLOCATION,
    "SlurmRunAllocationConfig": _ALLOCATION,
    "SlurmMetric": _METADATA,
    "SlurmMetricsContext": _METADATA + " CompletedRun.facts has them in code.",
}
#: fields of resources, and arguments of launchers and clients, by class
FIELDS: dict[str, dict[str, str]] = {
    "ComputeResource": {
        "allocation_scope": _ALLOCATION,
        "run_allocation": _ALLOCATION,
        "cleanup_on_failure": _KEPT,
        "debug_mode": _KEPT,
    },
    "SlurmSessionResource": {
        "enable_health_checks": "Leave it out: an allocation that loses a node is replaced by itself.",
        "enable_session": 'Leave it out: ComputeResource(mode="slurm") does without a session.',
    },
    "RayLauncher": {
        "dashboard_port": 'RayLauncher(dashboard="127.0.0.1:8265"), or dashboard=True for a free port.',
        "ray_port": _PORTS,
        "redis_password": "Leave it out: each cluster makes a token of its own.",
        "worker_startup_delay": "Leave it out: the payload begins when all nodes are up.",
    },
    "LocalPipesClient": {
        "base_dir": "LocalPipesClient(local_base=...).",
        "require_pixi": "Leave it out: nothing is packed in local mode.",
    },
    "SlurmPipesClient": dict.fromkeys(
        "session_resource cleanup_on_failure debug_mode auto_detect_platform pack_platform "
        "pre_deployed_env_path".split(),
        _BOTH,
    ),
}
#: methods and attributes, by class
METHODS = {
    "ComputeResource": {
        "run_hetjob": "compute.run_heterogeneous(context=context, components=[HetJobComponent(component_id=..., "
        "payload_path=..., resources=Resources(...)), ...]).",
        "register_cluster": "ComputeResource(enable_cluster_reuse=True) keeps and finds clusters by itself.",
        "get_pipes_client": "LocalPipesClient(launcher) or SlurmPipesClient(slurm_resource, launcher).",
    },
}
#: arguments of methods
ARGUMENTS = {
    "run": {
        "slurm_metrics": _METADATA,
        "metrics_collector": _METADATA + " Report others from the payload, through Pipes.",
        "use_session": 'ComputeResource(mode="slurm-session") decides it.',
        "python_executable": "SlurmResource(remote_python=...) on a cluster; in local mode it is Dagster's own.",
    },
}


def refuse_former(owners: Iterable[str], given: Iterable[str]) -> None:
    """Refuse former names of a class or one of its bases.

    Raises:
        ConfigurationError: there is one.
    """
    names = list(given)
    for owner in owners:
        for name in names:
            instead = FIELDS.get(owner, {}).get(name)
            if instead is not None:
                raise ConfigurationError(f"{owner} has no {name!r} any more", hint=instead)


def refuse_fields(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that a class does not take: former ones with what to write instead, others with the nearest.

    Raises:
        ConfigurationError: there is one.
    """
    fields = frozenset(known)
    unknown = [name for name in given if name not in fields]
    refuse_former([owner], unknown)
    for name in unknown:
        raise ConfigurationError(f"{owner} has no {name!r}", hint=suggestion(name, fields))


def instead_of_argument(method: str, name: str) -> str | None:
    """Return what to write instead of a former argument; None if it never was one."""
    return ARGUMENTS.get(method, {}).get(name)
