"""What an environment is: it is prepared for a site, made sure of, and activated in the job."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dagster_slurm.errors import DagsterSlurmError, HostError

#: hears what goes on, in sentences for people
Tell = Callable[[str], None]
#: hears when the way to the host is barred
Absent = Callable[[HostError], None]


class Agent(Protocol):
    """Who carries out requests on the host; a :class:`dagster_slurm.engine.host.Host` does."""

    name: str

    def request(
        self, operation: str, body: bytes = b"", *, say: Absent | None = None, **fields: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Ask, however often it takes."""
        ...

    def notify(self, operation: str, body: bytes = b"", **fields: Any) -> None:
        """Tell something that needs no answer, and may get lost."""
        ...


@dataclass(frozen=True)
class Activation:
    """How a payload gets its environment.

    Args:
        python: the Python for payloads in Python: a name on PATH, or a path.
        lines: shell lines for the job script.
        prefix: words before each command of the environment; see :mod:`.prefix`. Empty: none.
        folder: the environment's folder on the host, which is in use as long as the job may run; empty: none.
        after: shell lines for the job script, for when the payload has ended.
    """

    python: str
    lines: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    folder: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """How environments are built in a Slurm job.

    Args:
        header: the lines of its batch script that say what it asks for, but for its name.
        submit: the command that submits ``job.sh`` of the current folder.
        queue: the command that lists the user's jobs; its lines begin with id and state and end with the name, with
            bars between.
        refusal: gives the error for a submit command that gave no job, from its words, exit code and command;
            :class:`dagster_slurm.errors.SubmissionDelayed` where it is to be repeated.
        above: bytes of packages above which environments are built so; 0: all of them.
    """

    header: tuple[str, ...]
    submit: tuple[str, ...]
    queue: tuple[str, ...]
    refusal: Callable[[str, int | None, Sequence[str]], DagsterSlurmError]
    above: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where an environment is to work.

    Args:
        agent: carries out requests there.
        base: the folder with environments, absolute there.
        prelude: shell lines before every payload there.
        python: the Python that is used there where nothing else says: a name or a path.
        beside: the folder of the file that defines the asset.
        cwd: the working directory.
        absent: hears when the way there is barred.
        archive: environments are one file each, which jobs unpack on their nodes.
        storage: the nodes' own folder for that; empty: whichever will do.
        build_job: how to build in a job; None: always by the agent.
    """

    agent: Agent
    base: str
    prelude: tuple[str, ...] = ()
    python: str = "python3"
    beside: Path | None = None
    cwd: Path = field(default_factory=Path.cwd)
    absent: Absent | None = None
    archive: bool = False
    storage: str = ""
    build_job: BuildJob | None = None


class Prepared(Protocol):
    """An environment for a site: all that can be known of it before anything is sent."""

    def key(self) -> str:
        """Return its fingerprint: the same content at the same kind of site has the same key. Pure."""
        ...

    def activation(self) -> Activation:
        """Return how a payload gets it. Pure."""
        ...

    def place(self) -> str | None:
        """Return its folder on the host, if it is one that we build and whose presence a submission checks. Pure."""
        ...

    def ensure(self, tell: Tell, *, force: bool = False) -> None:
        """Make sure that it is there; may be repeated, by several at once, and after any interruption.

        Args:
            tell: hears what goes on.
            force: build it anew.

        Raises:
            DagsterSlurmError: it cannot be had.
        """
        ...


class Environment(Protocol):
    """What a user names: ``environment=`` takes it."""

    def prepare(self, site: Site) -> Prepared:
        """Look at the project and the site; send nothing.

        Raises:
            ConfigurationError: the project or its lock file is not as it must be.
            EnvironmentUnavailable: the site cannot have it, for instance for want of a Python.
            HostError: the host never answered, or refuses us.
        """
        ...


@dataclass(frozen=True)
class Present:
    """An environment that is there already: nothing is sent."""

    name: str
    how: Activation

    def key(self) -> str:
        """Return what tells it from others."""
        return self.name

    def activation(self) -> Activation:
        """Return how a payload gets it."""
        return self.how

    def place(self) -> None:
        """Return nothing: we do not build it."""

    def ensure(self, tell: Tell, *, force: bool = False) -> None:
        """Do nothing."""


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
