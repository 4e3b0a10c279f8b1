"""From the arguments of ``run_heterogeneous`` and all that was said elsewhere to one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from dagster_slurm.core import partitions
from dagster_slurm.core.components import check_ids
from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.components import ComponentAsk, Together
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.units import beyond
from dagster_slurm.environments.choice import Named
from dagster_slurm.errors import ConfigurationError, PayloadNotFound
from dagster_slurm.launchers.bash import BashLauncher
from dagster_slurm.launchers.components import OnFailure
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.managers import HetJobComponent
from dagster_slurm.pipes.gathered import Assets, assets_of
from dagster_slurm.pipes.handles import Context, call_name
from dagster_slurm.pipes.parts import CallTogether
from dagster_slurm.resources.arguments import Arguments, PathLike, said_in_call
from dagster_slurm.resources.asking import Settings, ask_for, fingerprint, keys_of
from dagster_slurm.resources.run_config import SlurmRunConfig

_ON_FAILURE = ("cancel", "wait")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The arguments of ``run_heterogeneous``; see there.

    Raises:
        ConfigurationError: one of them is of another kind than it must be.
    """

    components: Sequence[HetJobComponent]
    payload_path: PathLike | Sequence[str] | None
    assets: Mapping[str, Any] | None
    on_failure: OnFailure
    grace_period: float
    config: SlurmRunConfig
    key: str | None
    poll_timeout: float | None
    default_launcher: ComputeLauncher | None
    default_environment: Named | None

    def __post_init__(self) -> None:
        """Refuse at once what would end in a riddle later."""
        if isinstance(self.components, (str, bytes)) or not isinstance(self.components, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] - the user's
            raise ConfigurationError(f"components={self.components!r} is no list", hint="[HetJobComponent(...), ...]")
        for component in self.components:
            if not isinstance(component, HetJobComponent):  # pyright: ignore[reportUnnecessaryIsInstance] - the user's
                raise ConfigurationError(
                    f"components: {component!r} is no HetJobComponent", hint='HetJobComponent(component_id="train").'
                )
            if isinstance(component.after, str):
                raise ConfigurationError(
                    f"after={component.after!r} is no list of names", hint=f"after=[{component.after!r}]."
                )
        check_ids([component.component_id for component in self.components])
        if self.on_failure not in _ON_FAILURE:
            raise ConfigurationError(f"on_failure={self.on_failure!r} is not known", hint='"cancel" or "wait".')
        grace: Any = self.grace_period
        if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace < 1e6:
            raise ConfigurationError(f"grace_period={grace!r} is not a number of seconds")


def call_together(context: Context, asked: Asked, settings: Settings, target: Target) -> CallTogether:
    """Return the call that all sayings amount to.

    Raises:
        ConfigurationError: something in them is wrong; nothing was submitted.
    """
    ids = [component.component_id for component in asked.components]
    assets = assets_of(context, ids, asked.assets)
    arguments = [_arguments(component, asked) for component in asked.components]
    asks = [
        ComponentAsk(
            id=component.component_id,
            ask=_ask(context, given, settings, target, component),
            after=tuple(component.after),
        )
        for component, given in zip(asked.components, arguments, strict=True)
    ]
    session = target.session
    together = Together(
        asks=asks, on_failure=asked.on_failure, grace=float(asked.grace_period), in_session=session is not None
    )
    together = _with_results(context, together, assets)
    if session is not None:
        _check_allocation(together, session.ask.resources)
    elif not target.local:
        _check_partitions(together, target)
    name = call_name(
        context, asked.key, *((item, *fingerprint(given)) for item, given in zip(ids, arguments, strict=True))
    )
    return CallTogether(
        context=context,
        name=name,
        together=together,
        extras=[given.extras for given in arguments],
        assets=assets,
        poll_timeout=asked.poll_timeout,
        forward_termination=settings.forward_termination,
        resource_keys=keys_of(context, settings),
    )


def _with_results(context: Context, together: Together, assets: Assets) -> Together:
    """Return the same, with each asset's folder written by the component that makes it, or by all that do."""
    wanted = together.asks[0].ask.data
    if wanted is None:
        return together
    made = Counter(key for keys in assets.values() for key in keys)
    shared = replace(wanted.only(tuple(key.path) for key, many in made.items() if many > 1), inputs=(), shared=True)
    asks = [
        replace(
            item,
            ask=replace(
                item.ask, data=wanted.only(tuple(key.path) for key in assets.get(item.id, ()) if made[key] == 1)
            ),
        )
        for item in together.asks
    ]
    if shared.outputs and together.in_session:
        context.log.warning(
            f"Components of a session that make {shared.outputs[0].label!r} together have no folder for its result: "
            "nobody but one job could say when it is complete. Let one of them make it (assets=)."
        )
        return replace(together, asks=asks)
    tools = together.asks[0].ask.tools_python
    return replace(together, asks=asks, data=shared if shared.outputs else None, tools_python=tools)


def _ask(context: Context, given: Arguments, settings: Settings, target: Target, component: HetJobComponent) -> Any:
    try:
        return ask_for(context, given, settings, target)
    except PayloadNotFound as error:
        error.message = f"component {component.component_id!r}: {error.message}"
        raise


def _arguments(component: HetJobComponent, asked: Asked) -> Arguments:
    config = cast("SlurmRunConfig", asked.config)  # pyright: ignore[reportUnknownMemberType] - hidden by its metaclass
    path = component.payload_path or asked.payload_path
    skips = config.skip_payload_upload or None
    return Arguments(
        payload_path=f"{component.component_id}.py" if path is None else path,
        launcher=component.launcher or asked.default_launcher or BashLauncher(),
        resources=said_in_call(
            component.resources, component.extra_slurm_opts, component.resource_requirements, config
        ),
        extra_env=component.extra_env or {},
        extras=component.extras,
        extra_files=component.extra_files or (),
        key=asked.key,
        skip_payload_upload=skips if component.skip_payload_upload is None else component.skip_payload_upload,
        remote_payload_path=component.remote_payload_path,
        environment=component.environment,
        launchpad_environment=config.environment,
        default_environment=asked.default_environment,
        force_env_push=config.force_env_push,
        poll_timeout=asked.poll_timeout,
        fetch=component.fetch,
    )


def _check_partitions(together: Together, target: Target) -> None:
    known = target.partitions()
    for component in together.components:
        partitions.check(component.resources, known, f"component {component.id!r}")


def _check_allocation(together: Together, allocation: Resources) -> None:
    for component in together.components:
        more = beyond(component.resources, allocation)
        if more:
            raise ConfigurationError(
                f"component {component.id!r} asks for {more}",
                hint="Ask for less, or for a larger allocation: SlurmSessionResource(...).",
            )
