"""Run the same Dagster asset on a laptop and on a Slurm supercomputer.

The public names are loaded when they are first used, so that the command line tool starts without importing Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster_slurm.checks import build_right_sizing_check
    from dagster_slurm.components.script import SlurmScriptComponent
    from dagster_slurm.core.resources import Resources
    from dagster_slurm.core.retries import SlurmRetryPolicy
    from dagster_slurm.environments.pixi import PixiEnvironment
    from dagster_slurm.environments.prefix import CommandPrefix
    from dagster_slurm.environments.uv import UvEnvironment
    from dagster_slurm.launchers.bash import BashLauncher
    from dagster_slurm.launchers.launcher import ComputeLauncher
    from dagster_slurm.launchers.ray import RayLauncher
    from dagster_slurm.launchers.spark import SparkLauncher
    from dagster_slurm.resources.clients import LocalPipesClient, SlurmPipesClient
    from dagster_slurm.resources.compute import ComputeResource
    from dagster_slurm.resources.modes import ExecutionMode
    from dagster_slurm.resources.path_io import SlurmPathIOManager
    from dagster_slurm.resources.run_config import SlurmRunConfig
    from dagster_slurm.resources.session import SlurmSessionResource
    from dagster_slurm.resources.slurm import SlurmQueueConfig, SlurmResource
    from dagster_slurm.resources.ssh import SSHConnectionResource
    from dagster_slurm.sensors import build_slurm_orphan_sensor

_HOMES = {
    "BashLauncher": "launchers.bash",
    "CommandPrefix": "environments.prefix",
    "ComputeLauncher": "launchers.launcher",
    "ComputeResource": "resources.compute",
    "ExecutionMode": "resources.modes",
    "LocalPipesClient": "resources.clients",
    "PixiEnvironment": "environments.pixi",
    "RayLauncher": "launchers.ray",
    "Resources": "core.resources",
    "SSHConnectionResource": "resources.ssh",
    "SlurmPathIOManager": "resources.path_io",
    "SlurmPipesClient": "resources.clients",
    "SlurmQueueConfig": "resources.slurm",
    "SlurmResource": "resources.slurm",
    "SlurmRetryPolicy": "core.retries",
    "SlurmRunConfig": "resources.run_config",
    "SlurmScriptComponent": "components.script",
    "SlurmSessionResource": "resources.session",
    "SparkLauncher": "launchers.spark",
    "UvEnvironment": "environments.uv",
    "build_right_sizing_check": "checks",
    "build_slurm_orphan_sensor": "sensors",
}

__all__ = [
    "BashLauncher",
    "CommandPrefix",
    "ComputeLauncher",
    "ComputeResource",
    "ExecutionMode",
    "LocalPipesClient",
    "PixiEnvironment",
    "RayLauncher",
    "Resources",
    "SSHConnectionResource",
    "SlurmPathIOManager",
    "SlurmPipesClient",
    "SlurmQueueConfig",
    "SlurmResource",
    "SlurmRetryPolicy",
    "SlurmRunConfig",
    "SlurmScriptComponent",
    "SlurmSessionResource",
    "SparkLauncher",
    "UvEnvironment",
    "build_right_sizing_check",
    "build_slurm_orphan_sensor",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    if name not in _HOMES:
        former = import_module(f"{__name__}.core.former").EXPORTS
        if name in former:  # Python hides the text of an AttributeError here, not that of an ImportError
            raise ImportError(f"dagster_slurm has no {name} any more. {former[name]}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
