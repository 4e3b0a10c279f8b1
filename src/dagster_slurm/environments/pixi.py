"""Environments of conda packages: packed here by pixi-pack from ``pixi.lock``, unpacked once on the cluster."""

from __future__ import annotations

import platform as machine
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dagster_slurm.environments import kept, pixi_program, pixi_project, target_python
from dagster_slurm.environments.building import build, one_at_a_time, whereabouts
from dagster_slurm.environments.environment import Activation, Site, Tell
from dagster_slurm.environments.pixi_program import Pack
from dagster_slurm.environments.progress import busy
from dagster_slurm.errors import EnvironmentUnavailable

#: changes when environments are unpacked in another way
FORMAT = 1
_PLATFORMS = {
    ("Linux", "x86_64"): "linux-64",
    ("Linux", "aarch64"): "linux-aarch64",
    ("Linux", "ppc64le"): "linux-ppc64le",
    ("Darwin", "arm64"): "osx-arm64",
    ("Darwin", "x86_64"): "osx-64",
}


@dataclass(frozen=True, kw_only=True)
class PixiEnvironment:
    """An environment of the project's ``pixi.lock``.

    Args:
        project: its folder; None: found beside the file that defines the asset, or above it.
        name: the environment in the lock.
        platform: ``linux-64`` and the like; None: asked from the login node.
        inject: local conda packages to add, as paths or patterns below the project.
        cache_inject_globs: files that count for the question whether to pack anew, instead of the injected packages.
        pack_cmd: a command that packs, instead of pixi-pack: it prints the path of a self-extracting archive.
        unpack: pixi-unpack for the cluster's platform, a path here; with it and pixi-pack 0.7.6 or newer, only packages
            that the cluster lacks travel. None: the one on PATH, if the cluster is of this machine's platform.
        auto_detect_platform: whether to ask the login node for its platform where nothing names one; else it is this
            machine's.
    """

    project: str | Path | None = None
    name: str = "default"
    platform: str | None = None
    inject: Sequence[str] = ()
    cache_inject_globs: Sequence[str] = ()
    pack_cmd: Sequence[str] = ()
    unpack: str | Path | None = None
    auto_detect_platform: bool = True

    def prepare(self, site: Site) -> PackedPixi:
        """Read the lock, and ask the site for its platform.

        Raises:
            ConfigurationError: there is no lock, it does not fit the manifest any more, or it lacks the environment or
                the platform.
            EnvironmentUnavailable: the platform is not one that conda knows.
        """
        folder = self._folder(site)
        platform = self.platform or (_platform_of(site) if self.auto_detect_platform else _platform_here())
        lock = pixi_project.lock_of(folder)
        if not self.pack_cmd:
            pixi_project.check(lock, self.name, platform, folder)
        return PackedPixi(site=site, asked=self, folder=folder, platform=platform, lock=lock)

    def where_unsaid(
        self, platform: str | None, globs: Sequence[str], *, auto_detect_platform: bool
    ) -> PixiEnvironment:
        """Return it with what the resource says where it says nothing itself."""
        return replace(
            self,
            platform=self.platform or platform,
            cache_inject_globs=tuple(self.cache_inject_globs or globs),
            auto_detect_platform=self.auto_detect_platform and auto_detect_platform,
        )

    def _folder(self, site: Site) -> Path:
        places = [place for place in (site.beside, site.cwd) if place is not None]
        if self.project is not None:
            looked = [place / Path(self.project).expanduser() for place in places]
            looked = [place if place.is_dir() else place.parent for place in looked]
        else:
            looked = [folder for place in places for folder in (place, *place.parents)]
        return pixi_project.find(list(dict.fromkeys(looked)))


@dataclass(frozen=True, kw_only=True)
class PackedPixi:
    """An environment of a lock for one platform."""

    site: Site
    asked: PixiEnvironment
    folder: Path
    platform: str
    lock: str

    def key(self) -> str:
        """Return the fingerprint of what decides its content: the lock, the platform, and what is injected."""
        asked = self.asked
        globs = asked.cache_inject_globs or asked.inject
        contents = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._files(globs)]
        archive = ("archive",) if self.site.archive else ()
        asked_for = (asked.name, self.platform, tuple(asked.pack_cmd), tuple(asked.inject), *archive)
        return kept.fingerprint("pixi", FORMAT, self.lock, asked_for, contents)[:40]

    def place(self) -> str:
        """Return its folder."""
        return f"{self.site.base}/built/{self.key()}"

    def activation(self) -> Activation:
        """Return the lines that look it over and activate it."""
        return whereabouts(self.site, self.place(), "pixi")

    def ensure(self, tell: Tell, *, force: bool = False) -> None:
        """Pack here, send, and unpack there; one process of this machine does, others wait.

        Raises:
            ConfigurationError: pixi-pack is missing, or fails.
            RequestFailed: the host cannot take or unpack it.
        """
        with one_at_a_time(self.site.agent.name, self.place(), tell):
            pack = self._packed(tell, force=force)
            order = {
                "kind": "pixi",
                "key": self.key(),
                "python": "",
                "prelude": list(self.site.prelude),
                "pack": pack.kind,
                "tool": [pack.tool.sha256, pack.tool.size, pack.tool.file],
                "packages": [[item.sha256, item.size, item.name] for item in pack.packages],
                "force": force,
                "about": {"source": str(self.folder / "pixi.lock"), "platform": self.platform},
            }
            about = f"{self.key()[:12]} ({self.asked.name} for {self.platform})"
            needed = [pack.tool, *pack.packages]
            build(self.site, needed, lambda item: Path(item.location), order=order, about=about, tell=tell)

    def _packed(self, tell: Tell, *, force: bool) -> Pack:
        unpack = None if self.site.archive or self.asked.pack_cmd else self._unpack_program()
        key = kept.fingerprint(self.key(), self.site.archive, None if unpack is None else str(unpack))
        known = kept.read("packs", key)
        pack = None if known is None or force else Pack.read(known)
        if pack is not None:
            return pack
        asked = self.asked
        tell(f"Packing the pixi environment {asked.name} for {self.platform}.")
        with busy(tell, f"Packing the pixi environment {asked.name}"):
            pack = self._pack(unpack)
        kept.write("packs", key, pack.written())
        return pack

    def _pack(self, unpack: Path | None) -> Pack:
        asked = self.asked
        if asked.pack_cmd:
            return pixi_program.run_pack_command(asked.pack_cmd, self.folder)
        pixi_project.check_fresh(self.folder)
        return pixi_program.pack(self.folder, asked.name, self.platform, self._files(asked.inject), unpack)

    def _unpack_program(self) -> Path | None:
        """Return pixi-unpack for the cluster, if there is one here."""
        if self.asked.unpack is not None:
            return Path(self.asked.unpack).expanduser()
        return pixi_program.unpack_here() if self.platform == _platform_here() else None

    def _files(self, globs: Sequence[str]) -> list[Path]:
        return sorted({path for pattern in globs for path in self.folder.glob(pattern) if path.is_file()})


def _platform_of(site: Site) -> str:
    answer, _ = site.agent.request(
        "pythons", base=site.base, names=[site.python, "python3"], prelude=list(site.prelude), say=site.absent
    )
    found = target_python.from_answer(answer["pythons"])
    platform = _PLATFORMS.get((str(found[0].facts["system"]), found[0].machine)) if found else None
    if platform is None:
        raise EnvironmentUnavailable(
            f"the platform of {site.agent.name} is not known", hint='Name it: PixiEnvironment(platform="linux-64").'
        )
    return platform


def _platform_here() -> str:
    system = {"linux": "Linux", "darwin": "Darwin"}.get(sys.platform, sys.platform)
    return _PLATFORMS.get((system, machine.machine()), "unknown")
