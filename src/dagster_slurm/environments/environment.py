"""What an environment gives a run: which Python runs the payload, and the shell lines that make it so."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dagster_slurm.errors import ConfigurationError


@dataclass(frozen=True)
class Activation:
    """How a payload gets its environment.

    Args:
        python: the Python for payloads in Python: a name on PATH, or a path.
        lines: shell lines for the job script.
    """

    python: str
    lines: tuple[str, ...] = ()


def plain(python: str) -> Activation:
    """Return the activation of whatever is on the target: nothing but the name of its Python."""
    return Activation(python)


def predeployed(path: str) -> Activation:
    """Return the activation of an environment that lies on the target: a folder with ``activate.sh`` or ``bin/python``.

    Raises:
        ConfigurationError: the path is not absolute.
    """
    if not path.startswith("/"):
        raise ConfigurationError(
            f"pre_deployed_env_path={path!r} is not an absolute path on the cluster", hint="Begin it with /, $ or ~."
        )
    return Activation(
        "python",
        (
            f"_ds_environment={shlex.quote(path)}",
            'if [ -r "$_ds_environment/activate.sh" ]; then . "$_ds_environment/activate.sh"',
            'elif [ -x "$_ds_environment/bin/python" ]; then export PATH="$_ds_environment/bin:$PATH"',
            'else _ds_give_up 66 environment "no activate.sh and no bin/python in $_ds_environment on $_ds_node"',
            "fi",
        ),
    )
