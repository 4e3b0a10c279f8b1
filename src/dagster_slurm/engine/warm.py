"""Warm clusters as one process sees them: an asset takes one that serves it, or has another started."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagster_slurm.core.names import digest
from dagster_slurm.core.resources import merge
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.core.warm import Choice, Shape, Warm, choose
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.engine.groundwork import groundwork
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.plan import Taken
from dagster_slurm.errors import DagsterSlurmError
from dagster_slurm.launchers.cluster import ClusterLauncher
from dagster_slurm.payloads.bundle import Bundle

_REMOTE = Path(__file__).parent.parent / "remote"
_KEEPER = "rundir direct clusters cluster_keeper".split()
#: GPUs of this machine are not counted: a number that nothing reaches
_ANY_GPUS = 1 << 16
#: seconds for which the end of a step waits to let its cluster go
_WITHIN = 10.0


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Who shares warm clusters.

    Args:
        folder: where they are listed, absolute on the host.
        run: the Dagster run, or the session, as the first part of the clusters' run directories.
        step: whose cluster is taken.
        tolerance: see :func:`dagster_slurm.core.warm.covers`.
        local: they are processes beside Dagster.
        share: in a session the MiB that go with each CPU, where an asset says nothing of memory; 0 if not known yet.
    """

    folder: str
    run: str
    step: str
    tolerance: float
    local: bool
    share: int = 0

    def settled(self, shape: Shape) -> Shape:
        """Return a shape where all is said that an allocation would decide: of a session, each part is counted."""
        if self.local:
            return shape
        cpus = shape.cpus or 1
        return replace(shape, cpus=cpus, memory=shape.memory if shape.memory is not None else self.share_of(cpus))

    def share_of(self, cpus: int | None) -> int:
        """Return the MiB that go with some CPUs in a session."""
        return self.share * (cpus or 1)


class Beside:
    """The warm clusters of one Dagster run, beside it on this machine.

    Args:
        host: this machine.
        folder: where they are listed.
    """

    def __init__(self, host: Host, folder: str) -> None:
        self._host = host
        self._folder = folder

    def enter(self) -> None:
        """A call of ``run`` begins; it takes a cluster when it knows what it needs."""

    def leave(self, run: str, step: str, unfinished: Sequence[str]) -> None:
        """A call of ``run`` has ended; these steps of its Dagster run may still come."""
        parent = multiprocessing.parent_process()
        # under the multiprocess executor a step's process ends, and the one that started it brings forth the next
        others = [os.getpid(), *([parent.pid] if parent and parent.pid else [])]
        # a keeper whose list cannot be reached looks at processes alone
        with contextlib.suppress(DagsterSlurmError):
            self._host.request(
                "leave_clusters",
                within=_WITHIN,
                scope=self._folder,
                step=f"{run}/{step}",
                keep=others if unfinished else [],
            )


def take(
    host: Host, scope: Scope, ask: Ask, place: Place, *, launcher: ClusterLauncher, user: str
) -> tuple[Taken, Launch]:
    """Choose a cluster for a run, and note that it is used. May be repeated: a run that has a cluster keeps it.

    Args:
        host: where.
        scope: who shares clusters.
        ask: what the run asks for.
        place: where runs go.
        launcher: the run's.
        user: the run's directory.

    Returns:
        The cluster, and what to submit for it, which may have been done.

    Raises:
        HostError, RequestFailed: as for any request.
        ConfigurationError: the cluster cannot be as it was asked for.
    """
    want = shape_of(ask, launcher)
    if not scope.local:
        want = replace(want, cpus=want.cpus or 1)  # as of any unit
    kind = kind_of(ask, launcher)
    while True:
        state, _ = host.request("clusters", scope=scope.folder)
        clusters = [_warm(item, scope) for item in state["clusters"]]
        choice = choose(clusters, kind, want, scope.tolerance, _room() if scope.local else None)
        answer, _ = host.request(
            "take_cluster",
            scope=scope.folder,
            version=state["version"],
            user=user,
            pid=os.getpid() if scope.local else 0,
            number=choice.number if choice.action == "reuse" else None,
            replaces=choice.number if choice.action == "replace" else None,
            facts={"step": f"{scope.run}/{scope.step}", **_facts(choice)},
            new=_new(int(state["number"]), scope, place, launcher, kind=kind, shape=want),
        )
        if answer:
            entry = answer["cluster"]
            return _taken(entry, launcher, entry["users"][user]), cluster_launch(ask, launcher, place, scope, entry)


def _new(
    number: int, scope: Scope, place: Place, launcher: ClusterLauncher, *, kind: str, shape: Shape
) -> dict[str, object]:
    """Return the entry of a cluster that is begun if none can be taken."""
    name = f"{launcher.framework}-{digest(scope.folder)[:6]}-{number}"
    key = LaunchKey(scope.run, "warm-cluster", name)
    return {
        "number": number,
        "name": name,
        "kind": kind,
        "framework": launcher.framework,
        "shape": [shape.nodes, shape.cpus, shape.memory, shape.gpus],
        "dir": place.directory(key),
        "key": [key.run_id, key.step_key, key.call],
    }


def cluster_launch(ask: Ask, launcher: ClusterLauncher, place: Place, scope: Scope, entry: Mapping[str, Any]) -> Launch:
    """Return what to submit for a cluster: a run of its own that any of its users may begin."""
    key, shape = LaunchKey(*entry["key"]), _shape(entry)
    daemons = launcher.daemons()
    resources = replace(
        merge(ask.resources, launcher.needs()),
        nodes=shape.nodes,
        cpus=shape.cpus,
        mem=shape.memory,
        time_limit=None,
    )
    ground = groundwork(ask, key, place, daemons, resources)
    started = daemons.serve(ground.setting())
    spec, bundles = ground.spec(key, started), ground.bundles
    if scope.local:
        bundles[keeper_program().key] = keeper_program()
        main = f"{place.stored(keeper_program().key)}/main.py"
        keeper = (ask.tools_python, "-I", "-S", "-B", main, scope.folder, str(entry["number"]))
        spec = replace(spec, command=(*keeper, *spec.command))
    return Launch(spec, place.base, b"{}", bundles, keep=ask.keep, prepared=ask.prepared, more=started.files)


def kind_of(ask: Ask, launcher: ClusterLauncher) -> str:
    """Return what must be equal for two runs to share a cluster: all that its processes are started with."""
    return digest(
        launcher.framework,
        repr(launcher.daemons()),
        ask.prepared.key(),
        repr(ask.prepared.activation()),
        repr(sorted(ask.environment.items())),
        repr(ask.prelude),
    )[:12]


def shape_of(ask: Ask, launcher: ClusterLauncher) -> Shape:
    """Return what a run asks of a cluster."""
    shape = launcher.shape(merge(ask.resources, launcher.needs()))
    return replace(shape, nodes=1) if ask.local else shape


@functools.cache
def keeper_program() -> Bundle:
    """Return what ends a cluster beside Dagster when nobody needs it."""
    files = {f"keeper/{name}.py": _REMOTE / f"{name}.py" for name in ("__init__", *_KEEPER)}
    return Bundle.from_files({**files, "main.py": _REMOTE / "cluster_keeper_main.py"})


def _room() -> Shape:
    return Shape(1, os.cpu_count(), None, _ANY_GPUS)


def _facts(choice: Choice) -> dict[str, str | bool]:
    if choice.action == "reuse":
        return {"cluster_reused": True}
    return {"cluster_reused": False, "cluster_not_reused_because": choice.why}


def _taken(entry: Mapping[str, Any], launcher: ClusterLauncher, user: Mapping[str, Any]) -> Taken:
    facts = {name: value for name, value in user.items() if name.startswith("cluster_")}
    return Taken(
        int(entry["number"]),
        str(entry["name"]),
        str(entry["dir"]),
        launcher.connection(str(entry["dir"])),
        {"cluster_id": str(entry["name"]), **facts},
    )


def _warm(entry: Mapping[str, Any], scope: Scope) -> Warm:
    return Warm(
        int(entry["number"]),
        str(entry["name"]),
        str(entry["kind"]),
        scope.settled(_shape(entry)),
        len(entry["users"]),
        bool(entry["ending"]),
    )


def _shape(entry: Mapping[str, Any]) -> Shape:
    nodes, cpus, memory, gpus = entry["shape"]
    return Shape(nodes, cpus, memory, gpus)
