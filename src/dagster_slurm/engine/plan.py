"""From what the user asked for to what the host is told: the launch."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from dagster_slurm.core import data
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine.launch import Launch
from dagster_slurm.environments.environment import Prepared
from dagster_slurm.environments.prefix import Around, rendered
from dagster_slurm.launchers.cluster import ClusterLauncher
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.payloads.collect import collect
from dagster_slurm.payloads.extra_files import ExtraFiles
from dagster_slurm.payloads.interpreter import command, python_path
from dagster_slurm.payloads.payload import Payload
from dagster_slurm.payloads.pipes_shim import pipes_bundle


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the user asked for.

    Args:
        payload: what to run.
        launcher: how it is started.
        resources: what was said of its needs, already merged.
        environment: the user's variables.
        extra_files: what else is to lie in the working directory.
        prelude: shell lines before the payload.
        prepared: the payload's Python environment.
        tools_python: the target's Python for our own programs. Not looked up in the payload's environment: a Python
            that is a shim (pyenv's) would change that environment for what it starts.
        force_environment: build it anew.
        upload: whether the payload's folder travels.
        keep: seconds to keep run directories, by outcome.
        data: what it reads and writes in the folder of results; None: it has none.
        local: a process beside Dagster: nobody is asked for resources, launchers alone look at them.
    """

    payload: Payload
    launcher: ComputeLauncher
    resources: Resources
    prepared: Prepared
    tools_python: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    extra_files: tuple[ExtraFiles, ...] = ()
    prelude: tuple[str, ...] = ()
    upload: bool = True
    keep: Mapping[str, float] | None = None
    local: bool = False
    force_environment: bool = False
    data: data.Wanted | None = None


@dataclass(frozen=True)
class Place:
    """Where a run goes: the base folder, and whether other hosts see late there what was written."""

    base: str
    late: bool = False

    def directory(self, key: LaunchKey) -> str:
        """Return the run directory."""
        return f"{self.base}/runs/{key.folder}"

    def stored(self, key: str) -> str:
        """Return the folder of a bundle."""
        return f"{self.base}/store/{key}"


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
    bundles = {support().key: support()}
    code = ""
    if ask.upload and ask.payload.root is not None:
        bundle = Bundle.from_files(collect(ask.payload).files)
        bundles[bundle.key] = bundle
        code = place.stored(bundle.key)
    for extra in ask.extra_files:
        bundles[extra.bundle.key] = extra.bundle
    resources = merge(ask.resources, ask.launcher.needs())
    programs = Bundle.from_files(ask.launcher.programs())
    if programs.members:
        bundles[programs.key] = programs
    activation = ask.prepared.activation()
    paths = paths or RunPaths(place.directory(key))
    prefix = rendered(activation.prefix, around(ask, key, place, resources, paths))
    setting = Setting(
        command=(*prefix, *command(ask.payload, code, activation.python)),
        resources=resources,
        programs=place.stored(programs.key),
        python=activation.python,
        local=ask.local,
    )
    started = start(ask.launcher, setting, warm)
    resources = resources if warm is None else warm.driver
    tools = place.stored(support().key)
    variables = {
        "PYTHONUNBUFFERED": "1",
        **({"DAGSTER_SLURM_PAYLOAD_DIR": code} if code else {}),
        # for launchers that start daemons: eval "set -- $DAGSTER_SLURM_COMMAND_PREFIX"
        **({"DAGSTER_SLURM_COMMAND_PREFIX": shlex.join(prefix)} if prefix else {}),
        **started.environment,
        **ask.environment,
        **(data.input_variables(ask.data) if ask.data else {}),
        **bootstrap,
    }
    spec = RunSpec(
        key=key,
        paths=paths,
        command=started.command,
        resources=Resources() if ask.local else resources,
        environment=variables,
        python_path=(python_path(ask.payload, code), (tools,)),
        prelude=ask.prelude,
        activate=activation.lines,
        deactivate=activation.after,
        meter=(ask.tools_python, "-I", "-S", f"{tools}/bundled/meter.py"),
        data=(ask.tools_python, "-I", "-S", f"{tools}/bundled/results.py") if ask.data else (),
        sync=place.late,
        group=group,
    )
    return Launch(
        spec=spec,
        base=place.base,
        context=context,
        bundles=bundles,
        extra=tuple((item.bundle.key, item.into) for item in ask.extra_files),
        keep=ask.keep,
        more={**started.files, **_order(ask, key, place, paths)},
        remarks=(*started.remarks, *(data.remarks(ask.data) if ask.data else ())),
        prepared=ask.prepared,
        force_environment=ask.force_environment,
    )


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


@functools.cache
def support() -> Bundle:
    """Return what comes with every run: ``dagster_pipes`` for Pythons that lack it, and the meter."""
    return pipes_bundle()


def start(launcher: ComputeLauncher, setting: Setting, warm: Taken | None) -> Started:
    """Return what the job script starts: all of it, or what uses a cluster that another run keeps."""
    if warm is None or not isinstance(launcher, ClusterLauncher):
        return launcher.start(setting)
    return launcher.drive(replace(setting, resources=warm.driver), warm.connection, warm.facts)


def _order(ask: Ask, key: LaunchKey, place: Place, paths: RunPaths) -> dict[str, str]:
    """Return what the program that keeps the results is told."""
    if ask.data is None:
        return {}
    component = "" if paths.directory == place.directory(key) else PurePosixPath(paths.directory).name
    return {data.ORDER: data.order(ask.data, key, component, late=place.late)}


def around(ask: Ask, key: LaunchKey, place: Place, resources: Resources, paths: RunPaths | None = None) -> Around:
    """Return what the words before commands of the environment may name."""
    return Around(
        run_dir=(paths or RunPaths(place.directory(key))).directory,
        base_dir=place.base,
        data_dir=ask.data.root if ask.data else "",
        gpus=not ask.local and (bool(resources.gpus_per_node) or "gpu" in (resources.gres or "")),
    )
