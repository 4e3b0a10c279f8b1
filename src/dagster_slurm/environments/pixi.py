"""Environments of conda packages: packed here by pixi-pack from ``pixi.lock``, unpacked once on the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_slurm.environments import kept, pixi_program, target_python
from dagster_slurm.environments.building import build, one_at_a_time, whereabouts
from dagster_slurm.environments.environment import Activation, Site, Tell
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.errors import ConfigurationError, EnvironmentUnavailable

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
    """

    project: str | Path | None = None
    name: str = "default"
    platform: str | None = None
    inject: Sequence[str] = ()
    cache_inject_globs: Sequence[str] = ()
    pack_cmd: Sequence[str] = ()

    def prepare(self, site: Site) -> PackedPixi:
        """Read the lock, and ask the site for its platform.

        Raises:
            ConfigurationError: there is no lock, or it lacks the environment or the platform.
            EnvironmentUnavailable: the platform is not one that conda knows.
        """
        folder = self._folder(site)
        platform = self.platform or _platform_of(site)
        lock = (folder / "pixi.lock").read_text(encoding="utf-8")
        if not self.pack_cmd:
            _check(lock, self.name, platform, folder)
        return PackedPixi(site=site, asked=self, folder=folder, platform=platform, lock=lock)

    def _folder(self, site: Site) -> Path:
        places = [place for place in (site.beside, site.cwd) if place is not None]
        if self.project is not None:
            looked = [place / Path(self.project).expanduser() for place in places]
        else:
            looked = [folder for place in places for folder in (place, *place.parents)]
        found = next((folder for folder in looked if (folder / "pixi.lock").is_file()), None)
        if found is None:
            raise ConfigurationError(
                "there is no pixi.lock",
                details={"looked in": ", ".join(map(str, looked[:4]))},
                hint="Run `pixi lock` in the project, or name it: PixiEnvironment(project=...).",
            )
        return found.resolve()


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
        return kept.fingerprint(
            "pixi", FORMAT, self.lock, asked.name, self.platform, tuple(asked.pack_cmd), tuple(asked.inject), contents
        )[:40]

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
            packed = self._packed(tell, force=force)
            order = {
                "kind": "pixi",
                "key": self.key(),
                "python": "",
                "prelude": list(self.site.prelude),
                "tool": [packed.sha256, packed.size, packed.file],
                "packages": [],
                "force": force,
                "about": {"source": str(self.folder / "pixi.lock"), "platform": self.platform},
            }
            about = f"{self.key()[:12]} ({self.asked.name} for {self.platform})"
            build(self.site, [packed], lambda item: Path(item.location), order=order, about=about, tell=tell)

    def _packed(self, tell: Tell, *, force: bool) -> Locked:
        known = kept.read("pixi", self.key())
        if known is not None and not force and Path(known["location"]).is_file():
            return Locked(**known)
        asked = self.asked
        tell(f"Packing the pixi environment {asked.name} for {self.platform}.")
        if asked.pack_cmd:
            made = pixi_program.run_pack_command(asked.pack_cmd, self.folder)
        else:
            made = pixi_program.pack(self.folder, asked.name, self.platform, self._files(asked.inject))
        kept.write("pixi", self.key(), vars(made))
        return made

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


def _check(lock: str, name: str, platform: str, folder: Path) -> None:
    platforms = locked_platforms(lock)
    there = f"{folder / 'pixi.lock'} has {', '.join(sorted(platforms)) or 'no environments'}"
    if name not in platforms:
        raise ConfigurationError(f"pixi.lock has no environment {name!r}", hint=f"{there}.")
    if platform not in platforms[name]:
        raise ConfigurationError(
            f"the environment {name!r} of pixi.lock is not for {platform}",
            details={"locked for": ", ".join(platforms[name])},
            hint=f'Add "{platform}" to platforms in the manifest, and run `pixi lock`.',
        )


def locked_platforms(lock: str) -> dict[str, list[str]]:
    """Return the environments of a lock and their platforms. It reads lines: parsing a large lock takes seconds."""
    found: dict[str, list[str]] = {}
    section, name, below = "", "", ""
    for line in lock.splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if not text or text.startswith(("#", "-")):
            continue
        key = text.split(":")[0].strip("'\"")
        if indent == 0:
            section = key
        elif section == "environments" and indent == 2:
            name, below = key, ""
            found[name] = []
        elif section == "environments" and indent == 4:
            below = key
        elif section == "environments" and indent == 6 and below == "packages":
            found[name].append(key)
    return found
