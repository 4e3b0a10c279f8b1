"""Environments that lie on the target already."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_slurm.environments.environment import Activation, Present, Site, predeployed
from dagster_slurm.errors import ConfigurationError


@dataclass(frozen=True)
class PlainEnvironment:
    """Whatever is on the target: nothing but its Python.

    Args:
        python: a name or a path; None: the site's own.
    """

    python: str | None = None

    def prepare(self, site: Site) -> Present:
        """Return it."""
        python = self.python or site.python
        return Present(f"plain {python}", Activation(python))


@dataclass(frozen=True)
class PredeployedEnvironment:
    """A folder on the target with ``activate.sh`` or ``bin/python``.

    Args:
        path: absolute on the target.

    Raises:
        ConfigurationError: the path is not absolute.
    """

    path: str

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ConfigurationError(
                f"pre_deployed_env_path={self.path!r} is not an absolute path on the cluster",
                hint="Begin it with /, $ or ~.",
            )

    def prepare(self, site: Site) -> Present:  # noqa: ARG002 - it is the same everywhere
        """Return it; whether it is there shows in the job, on the node that needs it."""
        return Present(f"predeployed {self.path}", predeployed(self.path))
