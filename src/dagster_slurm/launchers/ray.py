"""A Ray cluster over the nodes of the job, for as long as the payload runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from dagster_slurm.core.resources import Resources
from dagster_slurm.core.warm import Shape
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.cluster import ClusterLauncher, common, own_lines
from dagster_slurm.launchers.launcher import Setting, Started
from dagster_slurm.launchers.programs import programs
from dagster_slurm.launchers.settings import FILE, number, render, whole, words
from dagster_slurm.launchers.share import share_of, within

_MIB_PER_GB = 1024
#: the head's own; that of Ray's client (ray://) serves other programs
_ADDRESS = re.compile(r"[^/\s]+:\d+")
#: where a dashboard listens
_PAGE = re.compile(r"[^/\s]*:\d+")
#: the options of `ray start` that are ports; which of them there are, differs between versions, and Ray itself says it
_PORT = re.compile(r"([a-z]+[_-])*port")
_PORTS = range(1 << 16)
#: of a node's memory: for Ray's tasks, and for its object store; the rest is the daemons' and the driver's
_TASKS_PART, _STORE_PART = 0.7, 0.2


@dataclass(frozen=True, kw_only=True)
class RayLauncher(ClusterLauncher):
    """Starts a Ray cluster over all nodes of the job, then the payload, and ends the cluster with it.

    The payload calls ``ray.init()``. It starts when all nodes are up.

    Args:
        num_gpus_per_node: GPUs on each node; asked for where nothing else says, else what the job asks for.
        num_cpus_per_node: CPUs on each node, likewise.
        object_store_memory_gb: the object store on each node, in GiB. None: a fifth of the job's memory there.
        dashboard: ``True`` or ``"host:port"`` starts Ray's dashboard (the environment needs ``ray[default]``); with
            ``True`` on a free port of the first node, for processes there alone.
        port_config: ports by the name of ``ray start``'s option: ``{"port": 6379}``. Ray chooses free ones else.
        network_interface: the interface whose address the nodes use: ``"ib0"``.
        node_ip_address_command: shell command that prints a node's address, on each node.
        head_startup_timeout: seconds in which all nodes must be up.
        ray_start_args: further options for ``ray start`` on each node.
        pre_start_commands: shell lines before ``ray start`` on each node.
        ray_address: an existing cluster to use; nothing is started then.
        grace_period: seconds for which the cluster serves a payload that was told to stop (cancel, time limit); less
            where the site's KillWait leaves less.

    Raises:
        ConfigurationError: a value that cannot be.
    """

    framework: ClassVar[str] = "ray"
    num_gpus_per_node: int | None = None
    num_cpus_per_node: int | None = None
    object_store_memory_gb: float | None = None
    dashboard: bool | str = False
    port_config: Mapping[str, int] = field(default_factory=dict[str, int])
    network_interface: str | None = None
    node_ip_address_command: str | None = None
    head_startup_timeout: float = 120.0
    ray_start_args: tuple[str, ...] = ()
    pre_start_commands: tuple[str, ...] = ()
    ray_address: str | None = None
    grace_period: float = 10.0

    def __post_init__(self) -> None:
        """Refuse at once what cannot work."""
        whole("num_gpus_per_node", self.num_gpus_per_node, 0)
        whole("num_cpus_per_node", self.num_cpus_per_node)
        number("object_store_memory_gb", self.object_store_memory_gb)
        number("head_startup_timeout", self.head_startup_timeout)
        number("grace_period", self.grace_period, zero=True)
        words(self, "ray_start_args", "pre_start_commands")
        for name, port in self.port_config.items():
            if not _PORT.fullmatch(name) or port not in _PORTS:
                raise ConfigurationError(
                    f"port_config: {name}={port!r} is no port of `ray start`",
                    hint='Give numbers by the names of its options: {"port": 6379, "min_worker_port": 20000}.',
                )
        if self.ray_address is not None and not _ADDRESS.fullmatch(self.ray_address):
            raise ConfigurationError(f"ray_address={self.ray_address!r} is no host:port", hint="Give the head's own.")
        if str(self.dashboard) not in ("True", "False") and not _PAGE.fullmatch(str(self.dashboard)):
            raise ConfigurationError(
                f"dashboard={self.dashboard!r} is no host:port", hint='For instance "0.0.0.0:8265".'
            )

    def needs(self) -> Resources:
        """Ask for the CPUs and GPUs that were named."""
        return Resources(cpus=self.num_cpus_per_node, gpus_per_node=self.num_gpus_per_node or None)

    def keeps(self) -> bool:
        """Whether a cluster is started."""
        return self.ray_address is None

    def daemons(self) -> RayLauncher:
        """Return it without its numbers, which are the cluster's shape, and without what concerns the payload."""
        return replace(
            self, num_gpus_per_node=None, num_cpus_per_node=None, head_startup_timeout=120.0, grace_period=10.0
        )

    def shape(self, resources: Resources) -> Shape:
        """Return what a cluster has: the launcher's own numbers are part of what is asked for."""
        whole = super().shape(resources)
        cpus, gpus = self.num_cpus_per_node, self.num_gpus_per_node
        return replace(whole, cpus=cpus or whole.cpus, gpus=whole.gpus if gpus is None else gpus)

    def programs(self) -> Mapping[str, Path]:
        """Send along what starts, watches and ends the cluster."""
        return programs(*self._programs(), "ray_start.py", "ray_leftovers.py")

    def start(self, setting: Setting) -> Started:
        """Return what starts the cluster and then the payload."""
        share = share_of(setting.resources)
        # where nothing is started, nothing can exceed what the job has
        starts = not (setting.connection or self.ray_address)
        limited = starts and not setting.local
        settings = render(
            {
                **common(setting),
                "CPUS": within("num_cpus_per_node", self.num_cpus_per_node, share.cpus if limited else None)
                or share.cpus,
                "GPUS": within("num_gpus_per_node", self.num_gpus_per_node, share.gpus if limited else None)
                or share.gpus,
                **self._memory(share.memory if starts else None),
                **self._dashboard(),
                "PORTS": tuple(f"--{name}={port}" for name, port in self._ports().items() if name != "dashboard-port"),
                "INTERFACE": self.network_interface,
                "TIMEOUT": f"{self.head_startup_timeout:g}",
                "START_ARGS": self.ray_start_args,
                "EXISTING": self.ray_address,
                "GRACE": f"{self.grace_period:g}",
            },
            own_lines(self.pre_start_commands, self.node_ip_address_command),
        )
        return self._started(setting, {FILE: settings})

    def _memory(self, memory: int | None) -> dict[str, int | str | None]:
        """MiB for tasks and object store; None where only the node itself will know."""
        store = self.object_store_memory_gb
        if memory is None:
            return {"MEMORY": None, "STORE": None if store is None else int(store * _MIB_PER_GB)}
        store_mib = int(memory * _STORE_PART) if store is None else int(store * _MIB_PER_GB)
        if store_mib >= memory:
            raise ConfigurationError(
                f"object_store_memory_gb={store:g} exceeds the job's memory on each node: {memory} MiB",
                hint="Ask for more in resources=Resources(mem=...), or for a smaller object store.",
            )
        tasks = min(int(memory * _TASKS_PART), memory - store_mib)
        return {"MEMORY": tasks, "STORE": store_mib}

    def _ports(self) -> dict[str, int]:
        return {name.replace("_", "-"): port for name, port in self.port_config.items()}

    def _dashboard(self) -> dict[str, str | bool]:
        host, _, port = self.dashboard.rpartition(":") if isinstance(self.dashboard, str) else ("", "", "")
        port = port or str(self._ports().get("dashboard-port", ""))
        return {"DASHBOARD": bool(self.dashboard), "DASHBOARD_HOST": host or "127.0.0.1", "DASHBOARD_PORT": port}
