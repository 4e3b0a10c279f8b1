"""Which environment a payload runs in: who said so, and what that means at the target."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_slurm.engine.target import Target
from dagster_slurm.environments.choice import AutoEnvironment, Named, parse
from dagster_slurm.environments.environment import Environment, Prepared, Site
from dagster_slurm.environments.present import PlainEnvironment, PredeployedEnvironment
from dagster_slurm.errors import ConfigurationError, HostError
from dagster_slurm.pipes.handles import Context
from dagster_slurm.resources.slurm import SlurmResource


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
    """

    context: Context
    target: Target
    slurm: SlurmResource | None
    sayings: Sequence[Saying]
    as_on_cluster: bool
    beside: Path | None

    def prepare(self) -> Prepared:
        """Return the environment, made ready for the target; nothing was sent yet.

        Raises:
            ConfigurationError: somebody names what does not exist, or two things at once.
            EnvironmentUnavailable: the target cannot have it.
            HostError: the host never answered, or refuses us.
        """
        environment = self._chosen()
        if isinstance(environment, PlainEnvironment | PredeployedEnvironment):
            # nothing is asked of the host for these
            return environment.prepare(self._site(""))
        site = self._site(self.env_base())
        if isinstance(environment, AutoEnvironment):
            environment, why = environment.choose(site)
            self.context.log.info(f'environment="auto": {why}.')
        return environment.prepare(site)

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
        return PlainEnvironment()

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
