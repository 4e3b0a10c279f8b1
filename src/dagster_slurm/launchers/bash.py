"""The payload as it is: one process, or one per task on all nodes."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.launcher import ComputeLauncher, Setting, Started
from dagster_slurm.launchers.programs import programs
from dagster_slurm.launchers.settings import FILE, render, whole, words

#: Pipes messages of all ranks but 0 go nowhere: as dagster_pipes encodes {"path": "/dev/null"}
MUTED = base64.b64encode(zlib.compress(json.dumps({"path": "/dev/null"}).encode())).decode()
_TASKS = "ntasks-per-node"


@dataclass(frozen=True, kw_only=True)
class BashLauncher(ComputeLauncher):
    """Starts the payload as one process on the job's first node, or as many on all nodes.

    Args:
        tasks_per_node: processes on each node, started by ``srun``; ``None`` starts one, on the first node alone. With
            ``torchrun`` the number of workers that each node's torchrun starts.
        torchrun: one ``torchrun`` per node starts the processes; the payload's environment brings torch.
        network_interface: the interface whose address becomes ``MASTER_ADDR``: ``"ib0"``. None: the one that leads to
            the other nodes.
        srun_args: further options for ``srun``: ``("--mpi=pmix",)``.

    Each process finds ``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``LOCAL_WORLD_SIZE``, ``NODE_RANK``, ``MASTER_ADDR``
    and ``MASTER_PORT`` in its environment. Rank 0 alone reports to Dagster; what the others report goes nowhere.

    Raises:
        ConfigurationError: a number of tasks below 1, or torchrun without one.
    """

    tasks_per_node: int | None = None
    torchrun: bool = False
    network_interface: str | None = None
    srun_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse at once what cannot work."""
        whole("tasks_per_node", self.tasks_per_node)
        words(self, "srun_args")
        if self.torchrun and self.tasks_per_node is None:
            raise ConfigurationError("torchrun=True needs tasks_per_node", hint="Give the number of workers per node.")

    def needs(self) -> Resources:
        """Ask for as many tasks as there will be; torchrun is one task, which starts the others."""
        if self.tasks_per_node is None or self.torchrun:
            return Resources()
        return Resources(options={_TASKS: self.tasks_per_node})

    def programs(self) -> Mapping[str, Path]:
        """Send along what starts and watches the processes."""
        if self.tasks_per_node is None:
            return {}
        return programs("notes.sh", "step.sh", "machine.sh", "ranks.sh", "rank.sh", "node_address.py", "local_ranks.py")

    def start(self, setting: Setting) -> Started:
        """Return the payload's own command, or the one that starts it many times."""
        if self.tasks_per_node is None:
            return Started(setting.command, remarks=_one_for_many(setting))
        self._check(setting.resources)
        return Started(
            ("bash", f"{setting.programs}/ranks.sh", *setting.command), files={FILE: self._settings(setting)}
        )

    def _settings(self, setting: Setting) -> str:
        return render(
            {
                "PYTHON": setting.python,
                "NODES": setting.nodes,
                "TASKS_PER_NODE": self.tasks_per_node,
                "CPUS_PER_TASK": setting.resources.cpus,
                "TORCHRUN": self.torchrun,
                "LOCAL": setting.local,
                "INTERFACE": self.network_interface,
                "SRUN_ARGS": self.srun_args,
                "MUTED": MUTED,
            }
        )

    def _check(self, resources: Resources) -> None:
        asked = resources.options.get(_TASKS)
        if not self.torchrun and asked is not None and int(asked) < (self.tasks_per_node or 1):
            raise ConfigurationError(
                f"BashLauncher(tasks_per_node={self.tasks_per_node}) exceeds the job's {_TASKS}={asked}",
                hint=f"Leave {_TASKS} out: the launcher asks for what it needs.",
            )


def _one_for_many(setting: Setting) -> tuple[str, ...]:
    if setting.nodes == 1:
        return ()
    return (
        f"The job asks for {setting.nodes} nodes, but the payload is one process on the first of them. "
        "BashLauncher(tasks_per_node=1) starts it on every node.",
    )
