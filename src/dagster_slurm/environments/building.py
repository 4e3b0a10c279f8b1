"""Getting an environment built on the host: send what is missing, have it built, and do so once for many who ask."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from dagster_slurm.environments import kept
from dagster_slurm.environments.build_job import BuildInJob
from dagster_slurm.environments.environment import Activation, Site, Tell
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.progress import busy, megabytes
from dagster_slurm.environments.sending import Sender
from dagster_slurm.errors import EnvironmentUnavailable
from dagster_slurm.remote import long_lock, rundir

_PATIENCE = 3600.0
_ROUNDS = 4
#: our modules that compute nodes need: to unpack, and to build
_ON_NODES = ("unpacking", "node_local")
_IN_JOBS = (
    "rundir",
    "long_lock",
    "refused",
    "sharing",
    "packages",
    "prelude",
    "members",
    "making",
    "archived",
    "built",
    "build_in_job",
)


@contextmanager
def one_at_a_time(host: str, place: str, tell: Tell) -> Generator[None]:
    """Let one process of this machine do something for an environment, and others wait for it."""
    locks = kept.folder() / "locks"
    rundir.make_private(str(locks))
    lock = str(locks / kept.fingerprint(host, place)[:32])
    entered = False
    try:
        with long_lock.hold(lock, 0.2):
            entered = True
            yield
    except rundir.Locked:
        if entered:
            raise
        tell("Another process of this machine sends the environment; waiting for it.")
        with long_lock.hold(lock, _PATIENCE):
            yield


def build(
    site: Site,
    packages: list[Locked],
    fetch: Callable[[Locked], Path],
    *,
    order: Mapping[str, Any],
    about: str,
    tell: Tell,
) -> None:
    """Send what is missing and have the environment built.

    Args:
        site: where.
        packages: all that it is made of.
        fetch: gives a package's file here.
        order: what to build; see :func:`dagster_slurm.remote.built.build`.
        about: its name, for people.
        tell: hears what goes on.

    Raises:
        EnvironmentUnavailable: a package cannot be had.
        RequestFailed: the host cannot take or build it.
    """
    sender = Sender(site.agent, site.base, tell, site.absent)
    for _ in range(_ROUNDS):
        sent = sender.send_missing(packages, fetch)
        answer = _built(site, {**order, **_manner(site, packages)}, about, tell)
        if "missing" in answer:
            continue
        if answer["built"]:
            tell(f"Environment {about} was built in {answer['seconds']:.1f} s; {megabytes(sent)} were sent.")
        return
    raise EnvironmentUnavailable(
        f"packages vanish on {site.agent.name} while the environment is built",
        details={"folder": f"{site.base}/packages"},
        hint="Set env_base to a file system that is not purged so fast.",
    )


def _manner(site: Site, packages: list[Locked]) -> dict[str, Any]:
    """Return how it is built: nothing is compiled on a login node."""
    in_job = site.build_job is not None and sum(item.size or 0 for item in packages) > site.build_job.above
    manner: dict[str, Any] = {"compile": in_job}
    if site.archive:
        manner.update(format="archive", programs=sources(*_ON_NODES))
    return manner


def _built(site: Site, order: Mapping[str, Any], about: str, tell: Tell) -> Mapping[str, Any]:
    """Have it built, by the agent or in a job; return what came of it."""
    if not order["compile"] or site.build_job is None:
        with busy(tell, f"Building environment {about.split(maxsplit=1)[0]}"):
            return site.agent.request("build", base=site.base, order=dict(order), say=site.absent)[0]
    made = BuildInJob(site=site, job=site.build_job, about=about, programs=sources(*_IN_JOBS), tell=tell)
    return made.built(order)


def sources(*names: str) -> dict[str, str]:
    """Return the text of our own programs for the cluster, by name of module."""
    folder = files("dagster_slurm.remote")
    return {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in names}


def whereabouts(site: Site, place: str, *own: str) -> Activation:
    """Return the activation of an environment of ours, by the shell lines of these names.

    Args:
        site: where.
        place: its folder there.
        own: names of files in ``sh`` with what is its own.
    """
    if not site.archive:
        return Activation("python", (f"_ds_environment={shlex.quote(place)}", *shell("packed", *own)), folder=place)
    known = (
        f"_ds_shared={shlex.quote(place)} _ds_storage={shlex.quote(site.storage)}",
        f"_ds_python={shlex.quote(site.python)}",
    )
    return Activation("python", (*known, *shell("archive", *own)), folder=place, after=(*known, *shell("archive_end")))


@functools.cache
def shell(*names: str) -> tuple[str, ...]:
    """Return shell lines for the job script, from the files of these names in ``sh``."""
    folder = files("dagster_slurm.environments") / "sh"
    lines = [line for name in names for line in (folder / f"{name}.sh").read_text(encoding="utf-8").splitlines()]
    return tuple(line for line in lines if not line.startswith("#"))
