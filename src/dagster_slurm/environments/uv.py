"""Environments that uv builds on the cluster from the lock of the project here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dagster_slurm.environments import fetching, kept, target_python, uv_project, uv_tool
from dagster_slurm.environments.building import build, one_at_a_time, whereabouts
from dagster_slurm.environments.environment import Activation, Site, Tell
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.progress import megabytes
from dagster_slurm.environments.target_python import TargetPython
from dagster_slurm.environments.wheel_building import as_wheel

#: changes when environments are built in another way: older ones are left alone, and not used
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class UvEnvironment:
    """The project's ``uv.lock`` (or a requirements file, or a ``pylock.toml``) decides what a payload finds.

    Args:
        project: its folder, or the file; None: found beside the file that defines the asset, or above it.
        python: the Python on the cluster: ``3.11``, a name or a path; None: like the one here, if it is there.
        groups: dependency groups besides the project's own dependencies.
        extras: the project's optional dependencies to include.
        dev: include the group ``dev``.
    """

    project: str | Path | None = None
    python: str | None = None
    groups: Sequence[str] = ()
    extras: Sequence[str] = ()
    dev: bool = False

    def prepare(self, site: Site) -> PackedUv:
        """Read the lock, ask the site for its Pythons, and choose the wheels.

        Raises:
            ConfigurationError: no lock, a stale one, or no uv here.
            EnvironmentUnavailable: the Python or a wheel is missing there.
        """
        places = [place for place in (site.beside, site.cwd) if place is not None]
        found = uv_project.find(None if self.project is None else Path(self.project), places)
        source = replace(found, groups=tuple(self.groups), extras=tuple(self.extras), dev=self.dev)
        python = self._python(source, site)
        packages = tuple(as_wheel(item, source.folder, python) for item in source.select(python))
        return PackedUv(site=site, source=source, python=python, packages=packages)

    def _python(self, source: uv_project.Source, site: Site) -> TargetPython:
        names = target_python.names(self.python, site.python)
        answer, _ = site.agent.request(
            "pythons", base=site.base, names=names, prelude=list(site.prelude), say=site.absent
        )
        return target_python.choose(
            target_python.from_answer(answer["pythons"]),
            wanted=self.python if self.python and self.python[:1].isdigit() else None,
            requires=source.requires_python(),
            like=source.preferred_python() or "{}.{}".format(*sys.version_info),
            where=site.agent.name,
        )


@dataclass(frozen=True, kw_only=True)
class PackedUv:
    """An environment of wheels for one Python on one site."""

    site: Site
    source: uv_project.Source
    python: TargetPython
    packages: tuple[Locked, ...] = field(repr=False)

    def key(self) -> str:
        """Return the fingerprint of what lies in it: the Python and the wheels."""
        wheels = [(item.name, item.version, item.sha256) for item in self.packages]
        archive = ("archive",) if self.site.archive else ()
        return kept.fingerprint(FORMAT, self.python.path, self.python.version, wheels, *archive)[:40]

    def place(self) -> str:
        """Return its folder."""
        return f"{self.site.base}/built/{self.key()}"

    def activation(self) -> Activation:
        """Return the lines that look it over and put it on PATH."""
        found = whereabouts(self.site, self.place(), "uv")
        # nothing that the user's own lines do to PATH leads elsewhere
        return found if self.site.archive else replace(found, python=f"{self.place()}/bin/python")

    def ensure(self, tell: Tell, *, force: bool = False) -> None:
        """Send what is missing and build; one process of this machine does, others wait.

        Raises:
            EnvironmentUnavailable: it cannot be had.
            RequestFailed: the host cannot take or build it.
        """
        with one_at_a_time(self.site.agent.name, self.place(), tell):
            self._ensure(tell, force=force)

    def _ensure(self, tell: Tell, *, force: bool) -> None:
        size = sum(item.size or 0 for item in self.packages)
        about = f"{self.key()[:12]} ({self.python}; {len(self.packages)} packages, {megabytes(size)})"
        tool = uv_tool.for_target(self.python)
        order = self._order(tool, force)
        build(self.site, [tool, *self.packages], self._fetch, order=order, about=about, tell=tell)

    def _fetch(self, item: Locked) -> Path:
        return fetching.fetch(item, self.source.folder)

    def _order(self, tool: Locked, force: bool) -> dict[str, object]:
        return {
            "kind": "uv",
            "key": self.key(),
            "python": self.python.path,
            "prelude": list(self.site.prelude),
            "tool": [tool.sha256, tool.size, tool.file],
            "packages": [[item.sha256, item.size, item.file] for item in self.packages],
            "requirements": "".join(
                f"{item.name}=={item.version} --hash=sha256:{item.sha256}\n" for item in self.packages
            ),
            "force": force,
            "about": {"source": str(self.source.file), "platform": str(self.python)},
        }
