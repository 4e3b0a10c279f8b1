"""``dagster-slurm init``: a resource and an example asset for a project."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from dagster_slurm.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILES = ("slurm_example.py", "slurm_example_payload.py")


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Add a resource and an example asset to the project in FOLDER.

    In a project of `dg` they go where it looks for definitions. Nothing that is there is changed.
    """
    defs = _defs_folder(folder)
    place = defs or folder
    there = [str(place / name) for name in _FILES if (place / name).exists()]
    if there:
        raise ConfigurationError(f"{' and '.join(there)} is there already: nothing was written")
    place.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        text = (files("dagster_slurm.cli") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
        (place / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {place / name}")
    show = "dg dev" if defs else f"dagster dev -f {place / _FILES[0]}"
    click.echo(f"`{show}` shows the asset; it runs on this machine until you name a cluster:")
    click.echo("`dagster-slurm doctor HOST --profile site.yaml`, then `export DAGSTER_SLURM_PROFILE=$PWD/site.yaml`.")


def _defs_folder(folder: Path) -> Path | None:
    """Return the folder with definitions of a project of ``dg``; None if it is none."""
    try:
        settings: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{folder / 'pyproject.toml'} is not understood: {error}") from error
    dg: dict[str, Any] = settings.get("tool", {}).get("dg", {})
    project: dict[str, Any] = dg.get("project", {})
    if not project:
        return None
    module = str(project.get("defs_module") or f"{project.get('root_module', '')}.defs").replace(".", "/")
    return next((root / module for root in (folder / "src", folder) if (root / module).is_dir()), None)
