"""The cluster: how to reach it, what jobs ask for where nothing else says, and where files go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

import dagster as dg
from pydantic import Field, ValidationError

from dagster_slurm.core.options import from_options
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.resources import profile
from dagster_slurm.resources.environment import Variables
from dagster_slurm.resources.known import KnownFields
from dagster_slurm.resources.ssh import SSHConnectionResource

_OPTIONS = (
    "partition num_nodes cpus mem mem_per_cpu gpus_per_node gpu_directive time_limit account qos constraint".split()
)
_REMOTE_BASE = "~/dagster-slurm"
_MORE_OPTIONS = "reservation exclude nodelist gres signal_before_timeout".split()


class SlurmQueueConfig(KnownFields, dg.Config):
    """What jobs ask for where nothing else says. Empty fields leave it to Slurm."""

    partition: str | None = Field(default=None, description="Partition, or several with commas between.")
    num_nodes: int | None = Field(default=None, description="Number of nodes.")
    cpus: int | None = Field(default=None, description="CPUs for the task (--cpus-per-task).")
    mem: Any = Field(default=None, description='Memory per node: MiB, or with a unit: "4G".')
    mem_per_cpu: Any = Field(default=None, description="Memory per CPU: MiB, or with a unit.")
    gpus_per_node: Any = Field(default=None, description='GPUs on each node: 4, or with a type: "a100:4".')
    gpu_directive: str | None = Field(default=None, description='How to ask for GPUs: "gres" or "gpus-per-node".')
    gres: str | None = Field(default=None, description='Further generic resources per node: "shard:2".')
    time_limit: Any = Field(default=None, description='Minutes, or as sbatch writes it: "01:30:00".')
    account: str | None = Field(default=None, description="Account to charge.")
    qos: str | None = Field(default=None, description="Quality of service.")
    constraint: str | None = Field(default=None, description="Node features.")
    reservation: str | None = Field(default=None, description="Reservation to run in.")
    exclude: str | None = Field(default=None, description="Nodes to stay away from.")
    nodelist: str | None = Field(default=None, description="Nodes to use.")
    signal_before_timeout: Any = Field(default=None, description='Signal and seconds before the limit: "USR1@300".')
    prelude: list[str] = Field(default=[], description="Shell lines before the payload: module load ...")
    options: dict[str, Any] = Field(default={}, description='Further sbatch options: {"mail-type": "END"}.')

    def resources(self) -> Resources:
        """Return it as resources.

        Raises:
            ConfigurationError: a value that sbatch would not understand.
        """
        # "" is how dagster-slurm 1.x and environment variables say nothing
        given = {name: value for name in (*_OPTIONS, *_MORE_OPTIONS) if (value := getattr(self, name)) != ""}
        return from_options(self.options).over(from_options(given))


class SlurmResource(KnownFields, dg.ConfigurableResource[Any]):
    """A Slurm cluster."""

    ssh: SSHConnectionResource | None = Field(
        default=None, description="How to reach it. None: Dagster runs on the login node itself."
    )
    queue: SlurmQueueConfig | None = Field(default=None, description="What jobs ask for where nothing else says.")
    remote_base: str = Field(
        default=_REMOTE_BASE,
        description="Folder for run directories and code, on a file system that all nodes share. ~ and $SCRATCH are "
        "expanded there.",
    )
    env_base: str | None = Field(
        default=None,
        description="Folder for environments, and where relative pre_deployed_env_path lie; None: envs in remote_base.",
    )
    env_format: str = Field(
        default="directory",
        description='"directory": environments are folders of many files. "archive": one file each, which jobs '
        "unpack on their nodes' own storage.",
    )
    env_node_storage: str | None = Field(
        default=None, description="The nodes' own folder for archives: $TMPDIR, /scratch/local; None: /tmp, /var/tmp."
    )
    env_build: str = Field(
        default="auto",
        description='Where environments are built: "login", in a small Slurm "job", or "auto": in a job above 1 GB.',
    )
    env_build_options: dict[str, Any] = Field(
        default={}, description='What that job asks for, as sbatch options: {"partition": "serial", "mem": "4G"}.'
    )
    data_base: str | None = Field(
        default=None,
        description="Folder for results, one below it for each asset and partition, on a file system that all nodes "
        "share. ~ and $SCRATCH are expanded there. None: there are no such folders.",
    )
    remote_python: str = Field(default="python3", description="Python on login and compute nodes: a name or a path.")
    keep_runs_days: float | None = Field(
        default=3.0, description="Days to keep the directory of a run that succeeded and was collected. None: for ever."
    )
    keep_failed_runs_days: float | None = Field(
        default=30.0, description="Days to keep the directory of any other run. None: for ever."
    )

    @classmethod
    def from_env(cls, prefix: str = "SLURM_EDGE_NODE_") -> SlurmResource:
        """Read everything from the environment.

        The connection as :meth:`SSHConnectionResource.from_env` does (without ``<prefix>HOST`` Dagster is taken to run
        on the login node), and ``SLURM_DEPLOYMENT_BASE_PATH``, ``SLURM_DATA_BASE_PATH``, ``SLURM_PARTITION``,
        ``SLURM_QOS``, ``SLURM_ACCOUNT``.
        What these leave open is taken from the profile that ``DAGSTER_SLURM_PROFILE`` names, if it names one.

        Raises:
            ConfigurationError: a value cannot be understood.
        """
        common = Variables("SLURM_")
        named = os.environ.get(profile.VARIABLE, "").strip()
        fields = _from_profile(named) if named else {}
        if Variables(prefix).text("HOST"):
            fields["ssh"] = SSHConnectionResource.from_env(prefix)
        base = common.text("DEPLOYMENT_BASE_PATH")
        if base:
            fields["remote_base"] = base
        data = common.text("DATA_BASE_PATH")
        if data:
            fields["data_base"] = data
        said = {name: value for name in ("partition", "qos", "account") if (value := common.text(name.upper()))}
        queue = cast("SlurmQueueConfig", fields.get("queue") or SlurmQueueConfig())
        fields["queue"] = queue.model_copy(update=said)
        return cls(**fields)

    @classmethod
    def from_env_slurm(cls, ssh: SSHConnectionResource) -> SlurmResource:
        """Read everything from the environment but the connection, as :meth:`from_env` does.

        Raises:
            ConfigurationError: a value cannot be understood.
        """
        return cls.from_env().model_copy(update={"ssh": ssh})

    @classmethod
    def from_profile(cls, path: str | os.PathLike[str]) -> SlurmResource:
        """Read a site profile, as ``dagster-slurm doctor HOST`` writes it.

        Under ``slurm:`` it has the fields of this class; ``{env: NAME}`` stands for an environment variable.

        Raises:
            ConfigurationError: there is no such file, a field is not known, or it holds a password.
        """
        return cls(**_from_profile(path))

    def defaults(self) -> SlurmQueueConfig:
        """Return what jobs ask for where nothing else says."""
        # Dagster's metaclass hides the types of fields that are configurations themselves
        queue = cast("SlurmQueueConfig | None", self.queue)  # pyright: ignore[reportUnknownMemberType]
        return queue or SlurmQueueConfig()

    def keep(self) -> dict[str, float] | None:
        """Return how long run directories are kept, in seconds, by outcome."""
        day = 86400.0
        days = {"success": self.keep_runs_days, "failure": self.keep_failed_runs_days}
        return {outcome: value * day for outcome, value in days.items() if value is not None} or None


def _from_profile(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a profile's fields, those of ``ssh`` and ``queue`` as what they are."""
    fields = profile.read(path, dg.EnvVar)
    _check_names(fields, SlurmResource, path, "slurm")
    parts: tuple[tuple[str, type[Any]], ...] = (("ssh", SSHConnectionResource), ("queue", SlurmQueueConfig))
    for name, kind in parts:
        if fields.get(name) is not None:
            _check_names(fields[name], kind, path, name)
    try:
        return {**fields, **{name: kind(**fields[name]) for name, kind in parts if fields.get(name) is not None}}
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {field}={first['input']!r}: {first['msg']}") from None


def _check_names(fields: Mapping[str, Any], kind: type[Any], path: str | os.PathLike[str], part: str) -> None:
    for name in fields:
        profile.check_name(name, frozenset(kind.model_fields), f"{path}, {part}")
