"""A Spark cluster over the nodes of the job, for as long as the payload runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from dagster_slurm.core.resources import Resources, mebibytes
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.launchers.cluster import ClusterLauncher, common, own_lines
from dagster_slurm.launchers.launcher import Setting, Started
from dagster_slurm.launchers.programs import programs
from dagster_slurm.launchers.settings import FILE, number, render, whole, words
from dagster_slurm.launchers.share import share_of, within

#: of a node's memory: for the worker's executors; the rest is the daemons', Python's and the driver's
_WORKER_PART = 0.7


@dataclass(frozen=True, kw_only=True)
class SparkLauncher(ClusterLauncher):
    """Starts a standalone Spark cluster over all nodes of the job, then the payload, and ends the cluster with it.

    The payload calls ``SparkSession.builder.getOrCreate()``, as a Python program or through ``spark-submit``
    (``payload_path=["spark-submit", ...]``). It starts when all workers are up.

    Args:
        driver_memory: the driver's, MiB or with a unit: ``"2g"``. None: a tenth of the node's, 512 MiB at least.
        executor_memory: each executor's. None: half of the job's memory on a node.
        executor_cores: each executor's cores. None: all CPUs of the job on a node.
        num_executors: at most so many. None: as many as fit.
        master_url: an existing cluster to use; nothing is started then.
        spark_home: Spark on the nodes. None: the one in the environment's ``pyspark``.
        conf: further Spark settings; secrets may be among them.
        packages: Maven coordinates (``spark.jars.packages``).
        network_interface: the interface whose address the nodes use: ``"ib0"``.
        node_ip_address_command: shell command that prints a node's address, on each node.
        startup_timeout: seconds in which all workers must be up.
        pre_start_commands: shell lines before the daemons on each node.
        grace_period: seconds for which the cluster serves a payload that was told to stop (cancel, time limit); less
            where the site's KillWait leaves less.

    Raises:
        ConfigurationError: a value that cannot be.
    """

    framework: ClassVar[str] = "spark"
    driver_memory: str | int | None = None
    executor_memory: str | int | None = None
    executor_cores: int | None = None
    num_executors: int | None = None
    master_url: str | None = None
    spark_home: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict[str, str])
    packages: tuple[str, ...] = ()
    network_interface: str | None = None
    node_ip_address_command: str | None = None
    startup_timeout: float = 120.0
    pre_start_commands: tuple[str, ...] = ()
    grace_period: float = 10.0

    def __post_init__(self) -> None:
        """Refuse at once what cannot work."""
        whole("executor_cores", self.executor_cores)
        whole("num_executors", self.num_executors)
        for name in ("driver_memory", "executor_memory"):
            _mebibytes(name, getattr(self, name))
        number("startup_timeout", self.startup_timeout)
        number("grace_period", self.grace_period, zero=True)
        words(self, "packages", "pre_start_commands")
        for name, value in self.conf.items():
            if not name.strip() or any(ord(letter) < 32 for letter in f"{name}{value}"):
                raise ConfigurationError(f"conf: {name!r} cannot stand in spark-defaults.conf", hint="One line each.")

    def needs(self) -> Resources:
        """Ask for the cores of an executor."""
        return Resources(cpus=self.executor_cores)

    def keeps(self) -> bool:
        """Whether a cluster is started."""
        return self.master_url is None

    def daemons(self) -> SparkLauncher:
        """Return what master and workers are started with; all else is the driver's and its executors'."""
        return SparkLauncher(
            spark_home=self.spark_home,
            network_interface=self.network_interface,
            node_ip_address_command=self.node_ip_address_command,
            pre_start_commands=self.pre_start_commands,
        )

    def programs(self) -> Mapping[str, Path]:
        """Send along what starts, watches and ends the cluster."""
        return programs(*self._programs())

    def start(self, setting: Setting) -> Started:
        """Return what starts the cluster and then the payload."""
        share = share_of(setting.resources)
        # where nothing is started, nothing can exceed what the job has
        limited = not (setting.connection or self.master_url)
        settings = render(
            {
                **common(setting),
                "CPUS": share.cpus,
                "MEMORY": share.memory,
                "DRIVER_MEMORY": self._driver_memory(share.memory),
                "EXECUTOR_MEMORY": self._executor_memory(share.memory if limited else None),
                "EXECUTOR_CORES": None
                if self.executor_cores is None
                else within("executor_cores", self.executor_cores, share.cpus if limited else None),
                "EXECUTORS": self.num_executors,
                "SPARK_HOME_ASKED": self.spark_home,
                "CONF": self._conf(),
                "INTERFACE": self.network_interface,
                "TIMEOUT": f"{self.startup_timeout:g}",
                "EXISTING": self.master_url,
                "GRACE": f"{self.grace_period:g}",
            },
            own_lines(self.pre_start_commands, self.node_ip_address_command),
        )
        return self._started(setting, {FILE: settings})

    def _driver_memory(self, memory: int | None) -> int | None:
        """MiB. The driver runs in the job whatever cluster it uses."""
        wanted = _mebibytes("driver_memory", self.driver_memory)
        if wanted is not None and memory is not None and wanted > memory:
            raise ConfigurationError(
                f"driver_memory={self.driver_memory!r} exceeds the job's memory on each node: {memory} MiB",
                hint="Ask for more in resources=Resources(mem=...), or for a smaller driver.",
            )
        return wanted

    def _executor_memory(self, memory: int | None) -> int | None:
        """MiB. An executor larger than its worker would never start, and the payload would wait for ever."""
        wanted = _mebibytes("executor_memory", self.executor_memory)
        room = None if memory is None else int(memory * _WORKER_PART)
        if wanted is not None and room is not None and wanted > room:
            raise ConfigurationError(
                f"executor_memory={self.executor_memory!r} exceeds what is left for executors on each node: {room} MiB",
                hint="Ask for more in resources=Resources(mem=...): seven tenths of it are for executors.",
            )
        return wanted

    def _conf(self) -> tuple[str, ...]:
        packages = {"spark.jars.packages": ",".join(self.packages)} if self.packages else {}
        return tuple(f"{name} {value}" for name, value in {**packages, **self.conf}.items())


def _mebibytes(name: str, value: str | int | None) -> int | None:
    return None if value is None else mebibytes(value, name)
