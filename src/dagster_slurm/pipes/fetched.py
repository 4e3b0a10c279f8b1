"""Small results on this machine: what is fetched for a call, and how Dagster's UI shows it."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_slurm.core.data import Slot, Wanted
from dagster_slurm.core.record import Output
from dagster_slurm.engine.ask import Ask
from dagster_slurm.engine.fetching import Source, fetch
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.target import Target
from dagster_slurm.pipes.handles import Context
from dagster_slurm.pipes.outputs import Own

Fetched = Mapping[str, Path]

_IMAGES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp", ".svg": "svg+xml"}
#: metadata is a row of Dagster's database: what it holds of one file, in bytes, and of all of an asset
_IMAGE, _TEXT, _ALL = 400_000, 50_000, 1_500_000
_ROWS, _COLUMNS, _CELL = 50, 20, 200


def sources_of(wanted: Wanted | None, outputs: Sequence[Output], launch: Launch) -> list[Source]:
    """Return where the small results of a run lie: in its output folders, else in its working directory."""
    if wanted is None or not wanted.outputs:
        return [Source(launch.spec.paths.work, late=launch.spec.sync)]
    by_name = {output.name: output for output in outputs}
    several = len(wanted.outputs) > 1
    return [
        Source(by_name[slot.folder].path, slot.folder if several else "", by_name[slot.folder].inode, launch.spec.sync)
        for slot in wanted.outputs
        # what stayed empty has nothing to give; what may lie there is of an earlier run
        if slot.folder in by_name and by_name[slot.folder].files
    ]


def bring(target: Target, context: Context, ask: Ask, launch: Launch, outputs: Sequence[Output]) -> Fetched:
    """Bring what a call's ``fetch=`` names.

    Raises:
        ResultNotFetched: it is too large, changed under our hands, or there is no room for it here.
        HostError: the host refuses us.
    """
    if not ask.fetch:
        return {}
    sources = sources_of(ask.data, outputs, launch)
    into = Path(ask.fetch_into) / _folder(launch)
    fetched = fetch(target.host, sources, ask.fetch, into, limit=ask.fetch_limit, warn=context.log.warning)
    if fetched:
        size = sum(path.stat().st_size for path in fetched.values())
        context.log.info(f"Fetched {len(fetched)} files ({size / 1e6:.1f} MB) to {into}.")
    return fetched


def shown(context: Context, wanted: Wanted | None, fetched: Fetched) -> Own:
    """Return what the UI shows of fetched files, by asset: images, and tables and texts of modest size."""
    found: dict[dg.AssetKey, dict[str, dg.MetadataValue]] = {}
    assets = list(context.selected_asset_keys) if context.has_assets_def else []
    room = _ALL
    for name, path in fetched.items():
        value = value_of(path) if path.stat().st_size <= room else None
        key = _asset_of(name, wanted, assets)
        if key is None:
            continue
        room -= path.stat().st_size if value is not None else 0
        found.setdefault(key, {})[f"slurm/fetched/{name}"] = dg.PathMetadataValue(str(path)) if value is None else value
    return found


def value_of(path: Path) -> dg.MetadataValue | None:
    """Return what the UI shows of a file; None: it is too large, or of a kind that it cannot show."""
    kind, size = path.suffix.lower(), path.stat().st_size
    if kind in _IMAGES and size <= _IMAGE:
        data = base64.b64encode(path.read_bytes()).decode()
        return dg.MetadataValue.md(f"![{_plain(path.name)}](data:image/{_IMAGES[kind]};base64,{data})")
    if size > _TEXT or kind not in (".json", ".csv", ".tsv", ".md"):
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if kind == ".md":
            return dg.MetadataValue.md(text)
        if kind == ".json":
            return _json(text)
        return _table(text, "\t" if kind == ".tsv" else ",")
    except (ValueError, csv.Error):  # it is not what its name says; the file itself is there
        return None


def _json(text: str) -> dg.MetadataValue | None:
    value: Any = json.loads(text)
    return dg.MetadataValue.json(value) if type(value) in (dict, list) else None


def _table(text: str, delimiter: str) -> dg.MetadataValue | None:
    """Return a table of the first rows."""
    read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = [row[:_COLUMNS] for row in read if row]
    if not rows:
        return None
    head, body = rows[0], rows[1:]
    lines = [head, ["---"] * len(head), *(row + [""] * (len(head) - len(row)) for row in body[:_ROWS])]
    table = "\n".join(f"| {' | '.join(_cell(cell) for cell in line[: len(head)])} |" for line in lines)
    more = f"\n\n{len(body) - _ROWS} more rows" if len(body) > _ROWS else ""
    return dg.MetadataValue.md(f"{table}{more}")


def _cell(text: str) -> str:
    return " ".join(text[:_CELL].replace("|", "\\|").split())


def _plain(text: str) -> str:
    return "".join(sign for sign in text if sign not in "[]()!\\\n")


def _folder(launch: Launch) -> str:
    """Return where files of a launch go; a component has a folder of its own in that of its job."""
    within = launch.directory.partition(f"/{launch.spec.key.folder}")[2]
    return f"{launch.spec.key.folder}{within}"


def _asset_of(name: str, wanted: Wanted | None, assets: Sequence[dg.AssetKey]) -> dg.AssetKey | None:
    """Return the asset that a fetched file is of."""
    slots: Sequence[Slot] = wanted.outputs if wanted else ()
    for slot in slots:
        if len(slots) == 1 or name.startswith(f"{slot.folder}/"):
            return dg.AssetKey(slot.asset)
    return assets[0] if len(assets) == 1 else None
