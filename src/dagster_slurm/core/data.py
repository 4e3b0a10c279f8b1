"""Where results live: one folder per asset and partition, the names of all that, and what a payload is told. Pure.

::

    <data_base>/<asset>/                    the result of an asset without partitions
    <data_base>/<asset>/<partition>/        of one partition (and ``.partitions``, an empty file, beside them)
    <data_base>/@partial/<launch>/<start>/  what a payload that goes on writes into
    <data_base>/@kept/<launch>/             the same, where a later attempt continues
    <data_base>/@previous/                  a result that is being replaced, for a moment
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dagster_slurm.core.names import digest, folder_name
from dagster_slurm.core.spec import LaunchKey

#: names as they are; anything else is replaced, and told apart by a digest
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
#: how a name ends that was made of another text
_MADE = re.compile(r"-[0-9a-f]{16}\Z")
_LONGEST, _DIGITS = 120, 16
#: between the parts of an asset's key; no part has it
_BETWEEN = "+"

OUTPUT, INPUT = "DAGSTER_SLURM_OUTPUT_DIR", "DAGSTER_SLURM_INPUT"
OUTPUTS, INPUTS = "DAGSTER_SLURM_OUTPUTS", "DAGSTER_SLURM_INPUTS"
BASE = "DAGSTER_SLURM_DATA_BASE"
#: the file of a run directory that the program beside the payload reads
ORDER = "data.json"


@dataclass(frozen=True)
class Slot:
    """The place of one asset, or of one of its partitions.

    Args:
        asset: the parts of its key.
        partition: its partition, or None: the asset has none, or all of them are meant.
    """

    asset: tuple[str, ...]
    partition: str | None = None

    @property
    def folder(self) -> str:
        """The folder, relative to the data folder; two slots never share one."""
        asset = asset_folder(self.asset)
        return asset if self.partition is None else f"{asset}/{safe_name(self.partition)}"

    @property
    def label(self) -> str:
        """What people and payloads call the asset."""
        return "/".join(self.asset)

    @property
    def text(self) -> str:
        """The asset with its partition, for messages."""
        return self.label if self.partition is None else f"{self.label}, partition {self.partition!r}"


@dataclass(frozen=True)
class Wanted:
    """What one call reads and writes.

    Args:
        root: the data folder on the target.
        outputs: what the payload may write.
        inputs: what its asset depends on.
        resume: what an attempt wrote stays for the next one.
        since: the same, from this attempt of the call on: the first of those that continue each other.
        shared: several components write it: what those wrote that have ended stays if the job is started again.
    """

    root: str
    outputs: tuple[Slot, ...] = ()
    inputs: tuple[Slot, ...] = ()
    resume: bool = False
    since: int | None = None
    shared: bool = False

    def only(self, assets: Iterable[tuple[str, ...]]) -> Wanted:
        """Return the same with the outputs of some assets alone."""
        wanted = frozenset(assets)
        return replace(self, outputs=tuple(slot for slot in self.outputs if slot.asset in wanted))


def safe_name(text: str) -> str:
    """Return a name of at most 120 characters for any text; two texts never share one."""
    if len(text) <= _LONGEST and _PLAIN.match(text) and not _MADE.search(text):
        return text
    safe = _UNSAFE.sub("_", text).lstrip(".-")
    return f"{safe[: _LONGEST - _DIGITS - 1] or 'x'}-{digest(text)[:_DIGITS]}"


def asset_folder(key: Sequence[str]) -> str:
    """Return one folder name for an asset's key: ``raw/daily`` is ``raw+daily``."""
    name = _BETWEEN.join(safe_name(part) for part in key)
    return name if len(name) <= 2 * _LONGEST else f"{name[:_LONGEST]}{_BETWEEN}-{digest(*key)[:_DIGITS]}"


def variable_part(key: Sequence[str]) -> str:
    """Return how a key is spelled in the name of a variable: ``raw/daily`` is ``RAW_DAILY``."""
    return re.sub(r"[^A-Za-z0-9]", "_", "_".join(key)).upper()


def place(root: str, slot: Slot) -> str:
    """Return the folder of a slot."""
    return f"{root}/{slot.folder}"


def named(slots: Iterable[Slot], prefix: str) -> tuple[dict[str, Slot], list[str]]:
    """Return slots by variable, and remarks on those that share one: they have none."""
    given = [(f"{prefix}_{variable_part(slot.asset)}", slot) for slot in slots]
    many = Counter(name for name, _ in given)
    remarks = [
        f"{name} would stand for {' and '.join(slot.text for other, slot in given if other == name)}: it is not set. "
        f"The payload finds them by name in the Pipes extras {OUTPUTS} and {INPUTS}."
        for name, count in many.items()
        if count > 1 and len({slot.asset for other, slot in given if other == name}) > 1
    ]
    return {name: slot for name, slot in given if many[name] == 1}, remarks


def input_variables(wanted: Wanted) -> dict[str, str]:
    """Return the variables that name what there is to read, and the data folder."""
    found, _ = named(_whole(wanted.inputs), INPUT)
    return {BASE: wanted.root, **{name: place(wanted.root, slot) for name, slot in found.items()}}


def extras(wanted: Wanted, run_directory: str) -> dict[str, Any]:
    """Return the same for Pipes. What is written is found through a link of the run directory.

    ``DAGSTER_SLURM_INPUTS`` and ``DAGSTER_SLURM_OUTPUTS`` have a folder by asset, or folders by partition where several
    partitions are meant.
    """
    output = {variable: f"{run_directory}/output/{slot.folder}" for variable, slot in _outputs(wanted).items()}
    return {
        **input_variables(wanted),
        **output,
        INPUTS: _by_asset(wanted.inputs, lambda slot: place(wanted.root, slot)),
        OUTPUTS: _by_asset(wanted.outputs, lambda slot: f"{run_directory}/output/{slot.folder}"),
    }


def together(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extras of a component: its own results, beside those that it writes with others."""
    if not shared:
        return dict(own)
    outputs = {**shared[OUTPUTS], **own.get(OUTPUTS, {})}
    return {**shared, **own, INPUTS: own.get(INPUTS, {}), OUTPUTS: outputs}


def order(wanted: Wanted, key: LaunchKey, component: str = "", *, late: bool = False) -> str:
    """Return what the program beside the payload is told, as JSON.

    Args:
        wanted: what is read and written.
        key: of the launch.
        component: which of its components this is, if it has some.
        late: the file system shows late what others wrote.
    """
    whole = {slot: name for name, slot in _outputs(wanted).items() if name != OUTPUT}
    alone = _outputs(wanted).get(OUTPUT)
    return json.dumps(
        {
            "root": wanted.root,
            "partial": _partial(key, component, wanted),
            "resume": wanted.resume or wanted.since is not None,
            "shared": wanted.shared,
            "earlier": [_partial(_attempt(key, number), component) for number in range(key.attempt)],
            "late": late,
            "outputs": [
                {
                    "name": slot.folder,
                    "text": slot.text,
                    "partition": slot.partition is not None,
                    "variables": [name for name in (whole.get(slot), OUTPUT if slot == alone else None) if name],
                }
                for slot in wanted.outputs
            ],
            "inputs": [{"text": slot.text, "path": place(wanted.root, slot)} for slot in _whole(wanted.inputs)],
        }
    )


def remarks(wanted: Wanted) -> list[str]:
    """Return what the user should hear of variables that two assets would share."""
    return [*named(wanted.outputs, OUTPUT)[1], *named(_whole(wanted.inputs), INPUT)[1]]


def _outputs(wanted: Wanted) -> dict[str, Slot]:
    found, _ = named(wanted.outputs, OUTPUT)
    return {**found, OUTPUT: wanted.outputs[0]} if len(wanted.outputs) == 1 else found


def _whole(slots: Iterable[Slot]) -> list[Slot]:
    """Return the same with one slot per asset: where several partitions are meant, the folder above them."""
    by_asset: dict[tuple[str, ...], list[Slot]] = {}
    for slot in slots:
        by_asset.setdefault(slot.asset, []).append(slot)
    return [found[0] if len(found) == 1 else Slot(asset) for asset, found in by_asset.items()]


def _by_asset(slots: Iterable[Slot], path: Callable[[Slot], str]) -> dict[str, str | Mapping[str, str]]:
    found: dict[str, dict[str | None, str]] = {}
    for slot in slots:
        found.setdefault(slot.label, {})[slot.partition] = path(slot)
    return {
        label: next(iter(places.values())) if len(places) == 1 else {str(name): text for name, text in places.items()}
        for label, places in found.items()
    }


def _attempt(key: LaunchKey, number: int) -> LaunchKey:
    return LaunchKey(key.run_id, key.step_key, key.call, number)


def _partial(key: LaunchKey, component: str, wanted: Wanted | None = None) -> str:
    # a component lies beside the job, not in it: each clears its own
    part = f"{_BETWEEN}{component}" if component else ""
    if wanted is None or not (wanted.resume or wanted.since is not None):
        return f"@partial/{key.folder}{part}"
    if not wanted.resume and wanted.since is not None:
        return f"@kept/{_attempt(key, wanted.since).folder}{part}"
    return f"@kept/{folder_name(key.run_id)}/{folder_name(key.step_key)}/{folder_name(key.call)}{part}"
