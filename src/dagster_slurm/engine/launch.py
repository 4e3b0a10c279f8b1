"""What is to run, and who takes what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

from dagster_slurm.core.observations import Event
from dagster_slurm.core.script import render_environment, render_job
from dagster_slurm.core.spec import RunSpec
from dagster_slurm.environments.environment import Prepared
from dagster_slurm.errors import HostError, SubmissionDelayed
from dagster_slurm.payloads.bundle import Bundle

#: made by submit, since a new name can stay invisible for a minute on NFS; jobs only append
_POLLED = ("record.jsonl", "stdout.0", "stderr.0", "messages.0.jsonl", "slurm.log")


class Sink(Protocol):
    """Who takes what a run says."""

    def output(self, stream: str, data: bytes) -> None:
        """Take bytes of ``stdout`` or ``stderr``."""
        ...

    def messages(self, restart: int, data: bytes) -> None:
        """Take bytes of the Pipes messages of one restart."""
        ...

    def event(self, event: Event) -> None:
        """Take what happened to the job."""
        ...

    def absent(self, error: HostError | None) -> None:
        """Hear that the way to the host is barred, or (None) that it is free again."""
        ...

    def delayed(self, error: SubmissionDelayed) -> None:
        """Hear that the submission is not taken now and will be repeated."""
        ...

    def tell(self, text: str) -> None:
        """Hear what is done before the submission, in sentences."""
        ...


@dataclass(frozen=True)
class Launch:
    """What is to run.

    Args:
        spec: the run.
        base: the folder with runs and store, absolute on the host.
        context: the Pipes context.
        bundles: what must lie in the store, by key.
        extra: bundles (by key) whose files are to appear in a folder of the working directory.
        keep: seconds to keep run directories, by outcome; ``None`` keeps them.
        prepared: the payload's environment, which must be there before the job is submitted.
        force_environment: build it anew.
        more: further texts for the run directory, by name.
        members: the components of a heterogeneous job: runs in folders of this one's directory.
        remarks: what the user should hear before it begins.
        own_folders: further folders for the run directory.
        unit: which session it is handed to and what it asks of it; empty for a job of its own.
    """

    spec: RunSpec
    base: str
    context: bytes
    bundles: Mapping[str, Bundle] = field(default_factory=dict[str, Bundle])
    extra: tuple[tuple[str, str], ...] = ()
    keep: Mapping[str, float] | None = None
    prepared: Prepared | None = None
    force_environment: bool = False
    more: Mapping[str, str] = field(default_factory=dict[str, str])
    members: tuple[Launch, ...] = ()
    remarks: tuple[str, ...] = ()
    own_folders: tuple[str, ...] = ()
    unit: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def directory(self) -> str:
        """The run directory."""
        return self.spec.paths.directory

    @property
    def environments(self) -> dict[str, Prepared]:
        """The environments that must be there before the job is submitted, by their folders."""
        found: dict[str, Prepared] = {}
        for launch in (self, *self.members):
            path = launch.prepared.place() if launch.prepared is not None else None
            if launch.prepared is not None and path is not None:
                found[path] = launch.prepared
        return found

    @property
    def folders(self) -> list[str]:
        """Further folders for the run directory."""
        return [*self.own_folders, *(f"{self._within(member)}/work" for member in self.members)]

    @property
    def placed(self) -> list[tuple[str, str]]:
        """Bundles by key, and the folders of the run directory in which their files are to appear."""
        own = [(key, f"work/{into}") for key, into in self.extra]
        return own + [(key, f"{self._within(member)}/{into}") for member in self.members for key, into in member.placed]

    def files(self, kind: str) -> list[tuple[str, int, bytes]]:
        """Return what the run directory begins with: name, mode and content of each file.

        Args:
            kind: the scheduler's.
        """
        variables = render_environment(self.spec.environment)
        return [
            ("job.sh", 0o700, render_job(self.spec, slurm=kind == "slurm", step=kind == "step").encode()),
            ("env.sh", 0o600, variables.encode("utf-8", "surrogateescape")),
            ("context.json", 0o600, self.context),
            *self._environment(),
            *((name, 0o600, text.encode("utf-8", "surrogateescape")) for name, text in self.more.items()),
            *((name, 0o600, b"") for name in _POLLED),
            *(
                (f"{self._within(member)}/{name}", mode, content)
                for member in self.members
                for name, mode, content in member.files(kind)
            ),
        ]

    def _within(self, member: Launch) -> str:
        return str(PurePosixPath(member.directory).relative_to(self.directory))

    def _environment(self) -> list[tuple[str, int, bytes]]:
        """Return what tells cleaners which environments are in use."""
        used = [launch.prepared.activation().folder for launch in (self, *self.members) if launch.prepared is not None]
        text = "\n".join(folder for folder in dict.fromkeys(used) if folder)
        return [("environment", 0o600, text.encode("utf-8", "surrogateescape"))] if text else []
