"""Where a module's sources lie, found without importing any of it."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .look_up import is_file, is_folder

_INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class ModuleSource:
    """Where a module lies: ``root`` goes on PYTHONPATH, ``part`` of it (None: all) travels, ``entry`` is what runs."""

    root: Path
    part: str | None
    entry: str


def is_installed(folder: Path) -> bool:
    """Return whether a folder lies in an environment's package folder."""
    return not _INSTALLED.isdisjoint(folder.parts)


def of_standard_library(module: str) -> bool:
    """Return whether Python itself brings this module."""
    return module.partition(".")[0] in sys.stdlib_module_names


def search_path(beside: Path | None, cwd: Path) -> list[Path]:
    """Return the folders in which Python packages are looked for, in order.

    Beside the asset, above the package that the asset is in, the working directory, then ``sys.path``.
    """
    first = [] if beside is None else [beside, _above_package(beside)]
    stdlib = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    rest = [cwd / entry for entry in sys.path]
    return _unique([*first, cwd, *(entry for entry in rest if entry not in stdlib)])


def locate(module: str, folders: Sequence[Path]) -> ModuleSource | None:
    """Find what ``python -m module`` runs, as Python would, or None.

    Args:
        module: its dotted name.
        folders: where top-level packages are looked for; see :func:`search_path`.
    """
    parts = module.split(".")
    for path in _candidates(parts, folders):
        runs = path / "__main__.py" if path.suffix != ".py" else path
        if is_file(runs):
            root = path.parents[len(parts) - 1]
            return ModuleSource(root, _what_travels(root, path, parts), runs.relative_to(root).as_posix())
    return None


def locate_hooked(module: str, cwd: Path) -> ModuleSource | None:
    """Find a module of an editable installation that works by an import hook: asks it for the top-level name only."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    found = [*(spec.submodule_search_locations or ()), *((spec.origin,) if spec.origin else ())]
    folders = [Path(place).parent for place in found if Path(place).stem == top]
    return locate(module, _unique(cwd / folder for folder in folders))


def exists(module: str, folders: Sequence[Path]) -> bool:
    """Return whether there is such a package at all, be it one that cannot be run."""
    return bool(_candidates(module.split("."), folders))


def _candidates(parts: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """Return the paths that a dotted name may stand for: one, or the portions of a namespace package."""
    found: list[Path] = []
    for part in parts:
        found = _find(part, folders)
        folders = [path for path in found if path.suffix != ".py"]
    return found


def _find(name: str, folders: Sequence[Path]) -> list[Path]:
    """Return the first regular package or module of that name, else all portions of a namespace package."""
    portions: list[Path] = []
    for folder in folders:
        if is_file(folder / name / "__init__.py"):
            return [folder / name]
        if is_file(folder / f"{name}.py"):
            return [folder / f"{name}.py"]
        if is_folder(folder / name):
            portions.append(folder / name)
    return portions


def _what_travels(root: Path, path: Path, parts: Sequence[str]) -> str | None:
    """Return what of ``root`` goes along: the top-level package, and of installed namespaces only their own package."""
    if len(parts) == 1 and path.suffix == ".py":
        return path.name if is_installed(root) else None
    if not is_installed(root):
        return parts[0]
    package = root
    for part in parts:
        package = package / part
        if is_file(package / "__init__.py"):
            break
    return (package if is_folder(package) else path.parent).relative_to(root).as_posix()


def _above_package(folder: Path) -> Path:
    while is_file(folder / "__init__.py") and folder != folder.parent:
        folder = folder.parent
    return folder


def _unique(folders: Iterable[Path]) -> list[Path]:
    known = {os.path.realpath(folder): folder for folder in reversed(list(folders))}
    return [Path(place) for place in reversed(known) if is_folder(Path(place))]
