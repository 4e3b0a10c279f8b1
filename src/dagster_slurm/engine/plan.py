"""From what the user asked for to what the host is told: the launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from dagster_slurm.core import data
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.engine.groundwork import Groundwork, groundwork
from dagster_slurm.engine.launch import Launch
from dagster_slurm.launchers.cluster import ClusterLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.payloads.collect import collect
from dagster_slurm.payloads.interpreter import command, python_path


@dataclass(frozen=True)
class Taken:
    """A warm cluster that a run may use.

    Args:
        number: which, in its scope.
        name: for people.
        directory: the run directory of the cluster.
        connection: the file that says how to reach it.
        facts: what the metadata says of it.
        driver: what the run itself asks for, beside the cluster.
    """

    number: int
    name: str
    directory: str
    connection: str
    facts: Mapping[str, str | bool]
    driver: Resources = field(default_factory=Resources)


def plan(
    ask: Ask,
    key: LaunchKey,
    place: Place,
    *,
    bootstrap: Mapping[str, str],
    context: bytes,
    paths: RunPaths | None = None,
    group: int | None = None,
    warm: Taken | None = None,
) -> Launch:
    """Return the launch.

    Args:
        ask: what the user asked for.
        key: who it is.
        place: where it goes.
        bootstrap: the variables by which the payload finds its Pipes context and messages.
        context: the Pipes context.
        paths: where it lies, if not in a directory of its own: a component lies in that of its job.
        group: which component of its job it is.
        warm: the cluster that it uses; None: one of its own, if the launcher starts one.

    Raises:
        ConfigurationError: the payload's folder cannot travel, or a resource cannot be asked for.
    """
    ground = groundwork(ask, key, place, ask.launcher, merge(ask.resources, ask.launcher.needs()), paths=paths)
    sent = Bundle.from_files(collect(ask.payload).files) if ask.upload and ask.payload.root is not None else None
    code = "" if sent is None else place.stored(sent.key)
    started = _started(ask.launcher, ground.setting(command(ask.payload, code, ground.activation.python)), warm)
    travels = [*([] if sent is None else [sent]), *(extra.bundle for extra in ask.extra_files)]
    return Launch(
        spec=replace(_with_payload(ground.spec(key, started), ground, code, bootstrap, warm), group=group),
        base=place.base,
        context=context,
        bundles={**ground.bundles, **{bundle.key: bundle for bundle in travels}},
        extra=tuple((item.bundle.key, item.into) for item in ask.extra_files),
        keep=ask.keep,
        more={**started.files, **_order(ask, key, place, ground.paths)},
        remarks=(*started.remarks, *(data.remarks(ask.data) if ask.data else ())),
        prepared=ask.prepared,
        force_environment=ask.force_environment,
    )


def _started(launcher: ComputeLauncher, setting: Setting, warm: Taken | None) -> Started:
    """Return what the job script starts: all of it, or what uses a cluster that another run keeps."""
    if warm is None or not isinstance(launcher, ClusterLauncher):
        return launcher.start(setting)
    return launcher.drive(replace(setting, resources=warm.driver), warm.connection, warm.facts)


def _order(ask: Ask, key: LaunchKey, place: Place, paths: RunPaths) -> dict[str, str]:
    """Return what the program that keeps the results is told."""
    component = "" if paths.directory == place.directory(key) else PurePosixPath(paths.directory).name
    return {data.ORDER: data.order(ask.data, key, component, late=place.late)} if ask.data else {}


def _with_payload(
    spec: RunSpec, ground: Groundwork, code: str, bootstrap: Mapping[str, str], warm: Taken | None
) -> RunSpec:
    """Return the run with what only a payload needs."""
    ask, (_, behind) = ground.ask, spec.python_path
    inputs = data.input_variables(ask.data) if ask.data else {}
    payload_dir = {"DAGSTER_SLURM_PAYLOAD_DIR": code} if code else {}
    return replace(
        spec,
        environment={**payload_dir, **spec.environment, **inputs, **bootstrap},
        python_path=(python_path(ask.payload, code), behind),
        meter=(ask.tools_python, "-I", "-S", f"{ground.tools}/bundled/meter.py"),
        data=ground.results if ask.data else (),
        resources=spec.resources if warm is None or ask.local else warm.driver,
    )
