"""What uv is to pack: a project with a lock, requirements, or a lock in the common format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_slurm.environments import kept, lock_file, uv_program
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.target_python import TargetPython
from dagster_slurm.errors import ConfigurationError

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

#: our table below [tool] in pyproject.toml
_OURS = "dagster-slurm"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is to be packed.

    Args:
        file: ``uv.lock``, a ``pylock.toml``, or a requirements file.
        groups: dependency groups besides the project's own dependencies.
        extras: optional dependencies.
        dev: whether the group ``dev`` is wanted.
    """

    file: Path
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    dev: bool = False

    @property
    def folder(self) -> Path:
        """The folder that relative paths begin from."""
        return self.file.parent

    def requires_python(self) -> str:
        """Return which Pythons the project allows, as a specifier; empty: any.

        Raises:
            ConfigurationError: the file that says so cannot be read.
        """
        if self.file.suffix == ".toml":
            return str(_toml(self.file).get("requires-python", ""))
        if self.file.name != "uv.lock":
            return ""
        return str(_toml(self.folder / "pyproject.toml").get("project", {}).get("requires-python", ""))

    def preferred_python(self) -> str | None:
        """Return the version in ``.python-version``, such as ``3.11``, if there is one."""
        try:
            words = (self.folder / ".python-version").read_text(encoding="utf-8").split()
        except OSError:
            return None
        return ".".join(words[0].split(".")[:2]) if words and words[0][:1].isdigit() else None

    def select(self, python: TargetPython) -> list[Locked]:
        """Return what a Python needs of it; asked of uv once per content.

        Raises:
            ConfigurationError: uv is missing, or the lock is stale.
            EnvironmentUnavailable: a package has nothing for this platform.
        """
        files = [self.file, *([self.folder / "pyproject.toml"] if self.file.name == "uv.lock" else [])]
        contents = [kept.fingerprint(file.read_bytes().hex()) for file in files]
        key = kept.fingerprint(str(self.file), contents, self.groups, self.extras, self.dev, dict(python.facts))
        known = kept.read("selected", key)
        if known is None:
            lock = self._lock(python)
            known = [vars(item) for item in lock_file.select(lock, python)]
            kept.write("selected", key, known)
        return [Locked(**item) for item in known]

    def _lock(self, python: TargetPython) -> Mapping[str, Any]:
        if self.file.suffix == ".toml":
            return _toml(self.file)
        if self.file.name == "uv.lock":
            return parse(self._exported(), self.file)
        return parse(resolved(["-r", str(self.file)], python, cwd=self.folder), self.file)

    def _exported(self) -> str:
        arguments = ["export", "--quiet", "--locked", "--format", "pylock.toml", "--no-header"]
        arguments += [] if self.dev else ["--no-dev"]
        for option, values in (("--group", self.groups), ("--extra", self.extras)):
            for value in values:
                arguments += [option, value]
        return uv_program.run(arguments, cwd=self.folder, what=f"reading {self.file}")


def resolved(requirements: Sequence[str], python: TargetPython, *, cwd: Path) -> str:
    """Return requirements as a lock in the common format, by the indexes that uv is configured for.

    Args:
        requirements: of ``uv pip compile``: ``-r`` and a file.
        python: who is to install them.
        cwd: where uv runs.
    """
    files = [word for word in requirements if word != "-r"]
    arguments = ["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--universal", "--format", "pylock.toml"]
    arguments += ["--python-version", python.minor, *files]
    return uv_program.run(arguments, cwd=cwd, what=f"resolving {', '.join(files)}")


def find(project: Path | None, places: Sequence[Path]) -> Source:
    """Return the source that a project's path means.

    Args:
        project: a folder with ``uv.lock``, or a file; relative ones are looked up in ``places``. None: the first
            ``uv.lock`` in these places and the folders above them.
        places: where to look.

    Raises:
        ConfigurationError: there is nothing.
    """
    if project is None:
        looked = [folder for place in places for folder in (place, *place.parents)]
        found = next((folder / "uv.lock" for folder in looked if (folder / "uv.lock").is_file()), None)
    else:
        looked = [place / project.expanduser() for place in places]
        files = [place / "uv.lock" if place.is_dir() else place for place in looked]
        found = next((file for file in files if file.is_file()), None)
    if found is None:
        what = "no uv.lock" if project is None else f"no uv.lock, requirements or pylock.toml at {str(project)!r}"
        raise ConfigurationError(
            f"there is {what}",
            details={"looked in": ", ".join(str(place) for place in dict.fromkeys(places))},
            hint="Run `uv lock` in the project, or name it: UvEnvironment(project=...).",
        )
    return Source(file=found.resolve())


def own_setting(pyproject: Path) -> Any:
    """Return what a project says of its environment in ``[tool.dagster-slurm]``; None if it says nothing.

    Raises:
        ConfigurationError: the file is damaged.
    """
    try:
        text = pyproject.read_text(encoding="utf-8")
    except OSError:
        return None
    return parse(text, pyproject).get("tool", {}).get(_OURS, {}).get("environment") if _OURS in text else None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Return the TOML in a text; ``path`` is where it came from."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is damaged: {error}", hint="Write it anew.") from error
