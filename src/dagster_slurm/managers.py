"""What several payloads in one submission are made of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_slurm.core.resources import Resources
from dagster_slurm.environments.choice import Named
from dagster_slurm.launchers.launcher import ComputeLauncher


@dataclass(frozen=True, kw_only=True)
class HetJobComponent:
    """One component of a heterogeneous job: a payload with needs of its own.

    Args:
        component_id: its name: a letter, then letters, digits, ``_`` and ``-``, 40 at most.
        launcher: how the payload is started; else the resource's ``default_launcher``, else as one process.
        extras: values for the payload, through Pipes.
        payload_path: as in :meth:`ComputeResource.run`; else that of ``run_heterogeneous``, else
            ``<component_id>.py``, looked up in the same places.
        resources: what it needs of the cluster.
        after: ids of components that must have succeeded before this one starts, inside the same allocation.
        extra_env: environment variables; secrets may be among them.
        extra_files: files for its working directory: paths, or destinations with paths.
        extra_slurm_opts: sbatch options by name, as another way to say ``resources``.
        resource_requirements: ``{"cpus": 8, "gpus": 1, "memory_gb": 32}``, as another way to say ``resources``.
        environment: its Python environment, as in :meth:`ComputeResource.run`.
        skip_payload_upload: nothing travels: the payload lies on the cluster.
        remote_payload_path: where it lies there.
        fetch: small files of its result to bring to this machine, as in :meth:`ComputeResource.run`.
    """

    component_id: str
    launcher: ComputeLauncher | None = None
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])
    payload_path: str | os.PathLike[str] | Sequence[str] | None = None
    resources: Resources | None = None
    after: Sequence[str] = ()
    extra_env: Mapping[str, str] | None = None
    extra_files: Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] | None = None
    extra_slurm_opts: Mapping[str, Any] | None = None
    resource_requirements: Mapping[str, Any] | None = None
    environment: Named | None = None
    skip_payload_upload: bool | None = None
    remote_payload_path: str | None = None
    fetch: Sequence[str] | None = None
