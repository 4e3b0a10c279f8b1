"""From the arguments of ``run`` and all that was said elsewhere to one call."""

from __future__ import annotations

import inspect
import os
import posixpath
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dagster_slurm.core.data import BASE
from dagster_slurm.core.patterns import patterns
from dagster_slurm.core.resources import Resources, merge
from dagster_slurm.core.spec import check_environment
from dagster_slurm.core.warm import check_tolerance
from dagster_slurm.engine.ask import Ask
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.units import decided
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.payloads.extra_files import extra_files
from dagster_slurm.payloads.interpreter import interpreter_of
from dagster_slurm.payloads.payload import Payload
from dagster_slurm.payloads.resolve import command_on_target, resolve
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.handles import Context, call_name, is_direct
from dagster_slurm.resources.arguments import Arguments, PathLike
from dagster_slurm.resources.data import data_base, sending, wanted
from dagster_slurm.resources.environment import default_local_base
from dagster_slurm.resources.metadata import Said, from_metadata
from dagster_slurm.resources.session import SlurmSessionResource
from dagster_slurm.resources.slurm import SlurmQueueConfig, SlurmResource
from dagster_slurm.resources.surroundings import PixiSettings, Saying, Surroundings


class Settings(PixiSettings, Protocol):
    """What the resource says."""

    slurm: SlurmResource | None
    local_environment: str
    data_base: str | None
    local_base: str | None
    fetch_limit: int
    session: SlurmSessionResource | None
    pre_deployed_env_path: str | None
    default_skip_payload_upload: bool
    forward_termination: bool
    enable_cluster_reuse: bool
    cluster_reuse_tolerance: float


def call_for(context: Context, arguments: Arguments, settings: Settings, target: Target) -> Call:
    """Return the call that all sayings amount to.

    Raises:
        ConfigurationError: something in them is wrong; nothing was sent anywhere.
    """
    reuse = _reuse(settings)
    if target.session is not None and arguments.retry is not None and arguments.retry.continues:
        raise ConfigurationError(
            'on_timeout="continue" does not work in a session yet', hint='Use mode="slurm" for this asset.'
        )
    return Call(
        context=context,
        ask=ask_for(context, arguments, settings, target),
        name=call_name(context, arguments.key, *fingerprint(arguments)),
        extras=arguments.extras,
        poll_timeout=arguments.poll_timeout,
        forward_termination=settings.forward_termination,
        retry=arguments.retry,
        resource_keys=keys_of(context, settings),
        reuse=reuse,
    )


def fingerprint(arguments: Arguments) -> tuple[object, ...]:
    """Return what tells a call from others in a step."""
    return (_text(arguments.payload_path), arguments.extras, type(arguments.launcher).__name__)


def ask_for(context: Context, arguments: Arguments, settings: Settings, target: Target) -> Ask:
    """Return what all sayings ask for.

    Raises:
        ConfigurationError: something in them is wrong; nothing was sent anywhere.
    """
    said = from_metadata(context)
    upload = not _skips_upload(arguments, settings)
    beside, cwd = definition_folder(context), Path.cwd()
    slurm = None if target.local else settings.slurm
    queue = slurm.defaults() if slurm else SlurmQueueConfig()
    surroundings = Surroundings(
        context=context,
        target=target,
        slurm=slurm,
        sayings=_sayings(arguments, said, settings),
        as_on_cluster=_as_on_cluster(settings),
        beside=beside,
        pixi=settings,
    )
    payload = (
        resolve(_payload_path(arguments), beside=beside, cwd=cwd)
        if upload
        else _on_target(arguments, surroundings.scripts())
    )
    if target.session is not None:
        _tell_what_is_decided(context, merge(arguments.resources, said.resources), queue)
    found = wanted(context, target, data_base(settings, target), resume=arguments.resume_output)
    return Ask(
        payload=payload,
        launcher=arguments.launcher,
        resources=_resources(arguments, said, queue),
        prepared=surroundings.prepare(),
        force_environment=arguments.force_env_push,
        tools_python=sys.executable if target.local else slurm.remote_python if slurm else "python3",
        environment={**({BASE: found.root} if found else {}), **check_environment(arguments.extra_env)},
        extra_files=tuple(
            extra_files(arguments.extra_files, beside=beside, cwd=cwd, instead=sending(settings, target))
        ),
        prelude=tuple(queue.prelude) if slurm else (),
        upload=upload,
        keep=slurm.keep() if slurm else SlurmResource().keep(),
        local=target.local,
        data=found,
        fetch=patterns(said.fetch if arguments.fetch is None else arguments.fetch),
        fetch_into=f"{settings.local_base or default_local_base()}/fetched",
        fetch_limit=settings.fetch_limit,
    )


def _reuse(settings: Settings) -> float | None:
    if not check_tolerance(settings.cluster_reuse_tolerance):
        raise ConfigurationError(
            f"cluster_reuse_tolerance={settings.cluster_reuse_tolerance!r} is not a part of a whole",
            hint="0.15: a cluster that has up to 15 % fewer CPUs, or less memory, than an asset asks for serves it.",
        )
    if not settings.enable_cluster_reuse:
        return None
    return settings.cluster_reuse_tolerance


def _tell_what_is_decided(context: Context, asked: Resources, queue: SlurmQueueConfig) -> None:
    """What the asset wishes of the place where it runs, the session's allocation has decided."""
    names = decided(asked, queue.resources())
    if names:
        context.log.warning(f"Not looked at in a session, whose allocation decides: {', '.join(names)}.")


def keys_of(context: Context, settings: Settings) -> tuple[str, ...]:
    """Return the names under which the step has resources of our kind."""
    if is_direct(context):
        return ()
    keys = context.op_def.required_resource_keys
    return tuple(key for key in keys if isinstance(getattr(context.resources, key, None), type(settings)))


def definition_folder(context: Context) -> Path | None:
    """Return the folder of the file that defines the asset or op."""
    function: Any = getattr(context.op_def.compute_fn, "decorated_fn", None)
    if function is None:
        return None
    try:
        return Path(inspect.getfile(inspect.unwrap(function))).resolve().parent
    except (TypeError, OSError):
        return None  # defined in a notebook or at a prompt


def _resources(arguments: Arguments, said: Said, queue: SlurmQueueConfig) -> Resources:
    """Call, run config, metadata, what the launcher needs, queue: the earlier wins."""
    return merge(arguments.resources, said.resources, arguments.launcher.needs(), queue.resources())


def _sayings(arguments: Arguments, said: Said, settings: Settings) -> tuple[Saying, ...]:
    """Argument, run config, metadata, resource: the earlier wins."""
    return (
        Saying("run()", arguments.environment),
        Saying("the run config", arguments.launchpad_environment),
        Saying("the asset's metadata", said.environment, said.pre_deployed_env_path),
        Saying("the resource", arguments.default_environment, settings.pre_deployed_env_path),
    )


def _as_on_cluster(settings: Settings) -> bool:
    if settings.local_environment not in ("own", "same"):
        raise ConfigurationError(
            f"local_environment={settings.local_environment!r} is not known", hint='"own" or "same"'
        )
    return settings.local_environment == "same"


def _skips_upload(arguments: Arguments, settings: Settings) -> bool:
    if arguments.skip_payload_upload is not None:
        return arguments.skip_payload_upload
    if arguments.remote_payload_path:
        return True
    return settings.default_skip_payload_upload


def _payload_path(arguments: Arguments) -> PathLike | Sequence[str]:
    if arguments.payload_path is None:
        raise ConfigurationError(
            "run() needs a payload_path", hint='compute.run(context=context, payload_path="train.py")'
        )
    return arguments.payload_path


def _on_target(arguments: Arguments, scripts: str | None) -> Payload:
    """Return a payload that lies on the target already; relative paths begin in ``scripts``, if there is one."""
    path = arguments.remote_payload_path or _payload_path(arguments)
    if not isinstance(path, (str, os.PathLike)):
        return command_on_target(path)
    text = os.fspath(path)
    if not text.startswith("/") and scripts is not None:
        text = posixpath.normpath(f"{scripts}/{text}")
    if not text.startswith("/"):
        raise ConfigurationError(
            f"{text!r} is not an absolute path on the cluster",
            hint="Nothing is uploaded: say where the payload lies, or name an environment that has it under scripts/ "
            "(pre_deployed_env_path).",
        )
    return Payload("script", entry=text, interpreter=interpreter_of(text, b"", executable=True))


def _text(payload: PathLike | Sequence[str] | None) -> object:
    return os.fspath(payload) if isinstance(payload, os.PathLike) else payload
