"""Where runs go."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_slurm.core.partitions import Kind, kinds
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.host import Host, Say
from dagster_slurm.engine.sessions import Session
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.schedulers.scheduler import Scheduler


@dataclass(frozen=True)
class Target:
    """Where runs go: a host, what is spoken there, the base folder as the user wrote it, and the session to share."""

    host: Host
    scheduler: Scheduler
    base: str
    session: Session | None = None

    @property
    def local(self) -> bool:
        """Whether payloads are processes beside Dagster."""
        return not self.scheduler.asks

    def partitions(self) -> tuple[Kind, ...]:
        """Return what the cluster's partitions have; nothing, if it does not say.

        Raises:
            HostError: the host never answered, or refuses us.
        """
        if not self.scheduler.partitions:
            return ()
        asked = {"partitions": list(self.scheduler.partitions)}
        seen = self.host.once("survey", commands=asked, essential=["partitions"])["commands"]["partitions"]
        return kinds(seen["out"].splitlines() if seen["code"] == 0 else ())

    def place(self, say: Say | None = None) -> Place:
        """Return the base folder as the host understands it.

        Raises:
            ConfigurationError: it has a variable that is not set there.
            HostError: the host never answered, or refuses us.
        """
        hello = self.host.hello(self.base, say)
        base = hello["paths"][self.base]
        if base is None:
            raise ConfigurationError(
                f"remote_base={self.base!r} has a variable that is not set on {self.host.name}",
                hint="Name a folder that exists there, such as ~/dagster-slurm.",
            )
        return Place(str(base), base in hello["late"])
