"""Which environment a payload runs in: who said so, and what that means at the target."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dagster_slurm.core.directives import directive, directives, file_pattern
from dagster_slurm.core.options import from_options
from dagster_slurm.core.resources import Resources
from dagster_slurm.engine.target import Target
from dagster_slurm.environments.choice import AutoEnvironment, Named, parse
from dagster_slurm.environments.environment import BuildJob, Environment, Prepared, Site
from dagster_slurm.environments.pixi import PixiEnvironment
from dagster_slurm.environments.present import PlainEnvironment, PredeployedEnvironment
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError, HostError
from dagster_slurm.pipes.handles import Context
from dagster_slurm.resources.slurm import SlurmResource
from dagster_slurm.schedulers.scheduler import SubmitAnswer
from dagster_slurm.schedulers.slurm import Slurm

#: bytes of packages above which a login node is not the place to build them
_LARGE = 10**9
#: what a build asks for: uv works with two threads
_SMALL = Resources(cpus=2, mem="2G", time_limit="01:00:00")


@dataclass(frozen=True)
class Saying:
    """What one place says: the call, the launchpad, the asset's metadata, or the resource.

    Args:
        where: its name, for people.
        environment: what it names.
        deployed: a folder on the target, absolute or relative to ``env_base``.
    """

    where: str
    environment: Named | None = None
    deployed: str | None = None


class PixiSettings(Protocol):
    """What holds for pixi environments that say nothing themselves."""

    pack_platform: str | None
    auto_detect_platform: bool
    cache_inject_globs: list[str] | None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """All that matters for the choice.

    Args:
        context: of the step.
        target: where the payload runs.
        slurm: the cluster; None beside Dagster.
        sayings: what was said, the strongest first.
        as_on_cluster: whether a payload beside Dagster gets its environment as on the cluster.
        beside: the folder of the file that defines the asset.
        pixi: what the resource says of pixi environments.
    """

    context: Context
    target: Target
    slurm: SlurmResource | None
    sayings: Sequence[Saying]
    as_on_cluster: bool
    beside: Path | None
    pixi: PixiSettings

    def prepare(self) -> Prepared:
        """Return the environment, made ready for the target; nothing was sent yet.

        Raises:
            ConfigurationError: somebody names what does not exist, or two things at once.
            EnvironmentUnavailable: the target cannot have it.
            HostError: the host never answered, or refuses us.
        """
        environment = self._chosen()
        if isinstance(environment, AutoEnvironment):
            environment, why = environment.choose(self._site(""))
            self.context.log.info(f'environment="auto": {why}.')
        if isinstance(environment, PlainEnvironment | PredeployedEnvironment):
            # nothing is asked of the host for these
            return environment.prepare(self._site(""))
        if isinstance(environment, PixiEnvironment):
            environment = environment.where_unsaid(
                self.pixi.pack_platform,
                self.pixi.cache_inject_globs or (),
                auto_detect_platform=self.pixi.auto_detect_platform,
            )
        return environment.prepare(self._site(self.env_base()))

    def scripts(self) -> str | None:
        """Return where a pre-deployed environment has its payloads; None if there is no such environment.

        Raises:
            ConfigurationError: somebody names what does not exist, or two things at once.
        """
        chosen = self._chosen()
        return f"{chosen.path}/scripts" if isinstance(chosen, PredeployedEnvironment) else None

    def env_base(self) -> str:
        """Return the folder with environments, as the host understands it."""
        named = self.slurm.env_base if self.slurm else None
        if named is not None:
            return expanded(named, "env_base", self.target)
        return f"{self.target.place(self._absent).base}/envs"

    def _chosen(self) -> Environment:
        for saying in self.sayings:
            if saying.environment is not None and saying.deployed is not None:
                raise ConfigurationError(
                    f"{saying.where} names an environment and pre_deployed_env_path", hint="Leave one of them out."
                )
            if saying.deployed is not None:
                return PredeployedEnvironment(self._deployed(saying.deployed))
            if saying.environment is not None and (self.as_on_cluster or not self.target.local):
                return parse(saying.environment)
        return PlainEnvironment() if self.target.local else AutoEnvironment()

    def _deployed(self, path: str) -> str:
        if not path.startswith(("/", "~", "$")):
            base = (self.slurm.env_base if self.slurm else None) or f"{self.target.base}/envs"
            path = f"{base}/{path}"
        return expanded(path, "pre_deployed_env_path", self.target)

    def _site(self, base: str) -> Site:
        python = sys.executable if self.target.local else self.slurm.remote_python if self.slurm else "python3"
        return Site(
            agent=self.target.host,
            base=base,
            prelude=tuple(self.slurm.defaults().prelude) if self.slurm else (),
            python=python,
            beside=self.beside,
            absent=self._absent,
            archive=_one_of("env_format", self.slurm.env_format if self.slurm else "directory", "directory", "archive")
            == "archive",
            storage=(self.slurm.env_node_storage or "") if self.slurm else "",
            build_job=build_job(self.slurm, self.target) if self.slurm else None,
        )

    def _absent(self, error: HostError) -> None:
        self.context.log.warning(f"{error}\nTrying again; nothing was submitted yet.")


def expanded(path: str, what: str, target: Target) -> str:
    """Return a path as the target understands it.

    Raises:
        ConfigurationError: it has a variable that is not set there.
    """
    if not path.startswith(("~", "$")):
        return path
    found = target.host.hello(path)["paths"][path]
    if found is None:
        raise ConfigurationError(f"{what}={path!r} has a variable that is not set on {target.host.name}")
    return str(found)


def _one_of(name: str, value: str, *known: str) -> str:
    if value not in known:
        raise ConfigurationError(f"{name}={value!r} is not known", hint=f"One of {', '.join(map(repr, known))}.")
    return value


def build_job(slurm: SlurmResource, target: Target) -> BuildJob | None:
    """Return how to build in a job; what the queue says of account and the like holds for it as well."""
    where = _one_of("env_build", slurm.env_build, "auto", "login", "job")
    if where == "login" or target.local:
        return None
    # a build is no unit of a session: it may be asked for before there is one
    scheduler = Slurm()
    queue = slurm.defaults().resources()
    inherited = Resources(
        partition=queue.partition, account=queue.account, qos=queue.qos, reservation=queue.reservation
    )
    asked = from_options(slurm.env_build_options).over(_SMALL.over(inherited))

    def refusal(text: str, code: int | None, command: Sequence[str]) -> DagsterSlurmError:
        about = {"host": target.host.name, "what": "the job that builds the environment, see env_build_options"}
        return scheduler.refusal(SubmitAnswer(text, code, command, about))

    own = (directive("output", file_pattern("build.log")), directive("open-mode", "append"))
    return BuildJob(
        header=(*own, *directives(asked)),
        submit=tuple(scheduler.submit()),
        queue=scheduler.queue,
        refusal=refusal,
        above=0 if where == "job" else _LARGE,
    )
