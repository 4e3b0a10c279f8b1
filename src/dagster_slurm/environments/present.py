"""Environments that lie on the target already."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dagster_slurm.environments.environment import Activation, Present, Site
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


def predeployed(path: str) -> Activation:
    """Return the activation of a folder on the target."""
    lines = (
        f"_ds_environment={shlex.quote(path)}",
        'if [ -r "$_ds_environment/activate.sh" ]; then . "$_ds_environment/activate.sh"',
        'elif [ -x "$_ds_environment/bin/python" ]; then export PATH="$_ds_environment/bin:$PATH"',
        'else _ds_give_up 66 environment "no activate.sh and no bin/python in $_ds_environment on $_ds_node"',
        "fi",
        # one that `dagster-slurm env push` made: it was used now
        'touch -c "$_ds_environment/.dagster-slurm/ready" 2>/dev/null || true',
    )
    return Activation("python", lines, folder=path)
