"""What a launcher is: from the payload's command to the command of the job. Pure rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dagster_slurm.core import former
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a launcher has to work with.

    Args:
        command: the payload's own command, word by word.
        resources: what the job asks for, after all sayings were merged; in local mode nobody grants or limits it.
        programs: the folder on the target with the launcher's :meth:`~ComputeLauncher.programs`.
        python: the Python of the payload's environment: a name on PATH there, or a path.
        local: a process beside Dagster, not a Slurm job.
        connection: a file on the target in which another run published its cluster; see :mod:`.cluster`. Empty: none.
        cluster: what the metadata is to say of that cluster.
    """

    command: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)
    programs: str = ""
    python: str = "python3"
    local: bool = False
    connection: str = ""
    cluster: Mapping[str, str | bool] = field(default_factory=dict[str, "str | bool"])

    @property
    def nodes(self) -> int:
        """Number of nodes that the payload can use."""
        return 1 if self.local else int(self.resources.options.get("nodes") or self.resources.nodes or 1)


@dataclass(frozen=True)
class Started:
    """What the job script starts.

    Args:
        command: word by word; no shell reads it.
        environment: further variables.
        files: texts for the run directory (mode 0600), by name; the command finds them in ``$DAGSTER_SLURM_RUN_DIR``.
        remarks: what the user should hear, one sentence each; they become warnings of the step.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComputeLauncher:
    """How a payload is started in its job. Subclass it for a launcher of your own: see docs/many-processes.md."""

    def __new__(cls, *_positional: object, **given: object) -> ComputeLauncher:
        """Refuse fields of dagster-slurm 1.x, saying what to write instead."""
        former.refuse_former([kind.__name__ for kind in cls.__mro__], given)
        return super().__new__(cls)

    def __init_subclass__(cls, **given: object) -> None:
        """Refuse launchers that were written for dagster-slurm 1.x."""
        super().__init_subclass__(**given)
        if "prepare_execution" in cls.__dict__:
            raise ConfigurationError(
                f"{cls.__name__}: launchers have no prepare_execution any more",
                hint="Write start(self, setting) -> Started: see `A launcher of one's own` in docs/many-processes.md.",
            )

    def needs(self) -> Resources:
        """Return what the job must ask for so that this launcher can work, where nothing else says."""
        return Resources()

    def programs(self) -> Mapping[str, Path]:
        """Return the programs that travel with every run: name in the folder there, file here. They change rarely."""
        return {}

    def start(self, setting: Setting) -> Started:
        """Return what to start for a payload.

        Raises:
            ConfigurationError: the launcher cannot work with what the job asks for.
        """
        raise NotImplementedError
