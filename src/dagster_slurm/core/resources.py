"""What a job asks of the cluster, and how several sayings about it become one."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from dagster_slurm.core.option_names import FIELDS, canonical
from dagster_slurm.errors import ConfigurationError

GpuDirective = Literal["gres", "gpus-per-node"]

#: time limits as sbatch(1) accepts them: minutes, mm:ss, hh:mm:ss, d-hh, d-hh:mm, d-hh:mm:ss
_TIME = re.compile(r"(\d+(:\d{1,2}){0,2}|\d+-\d{1,2}(:\d{1,2}){0,2}|unlimited|infinite)$", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+)([KMGT]?)B?$", re.IGNORECASE)
_MEMORY_UNIT = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024 * 1024}
_GPUS = re.compile(r"([A-Za-z0-9_.-]+:)?\d+$")
_SIGNAL = re.compile(r"(?:B:)?(?:SIG)?([A-Z0-9]+)(?:@(\d{1,5}))?$")
#: signals that a script can trap and hand on, and their numbers on Linux, by which sbatch knows them too
SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "USR1": 10, "USR2": 12, "ALRM": 14, "TERM": 15, "CONT": 18, "URG": 23}
#: sbatch(1): how long before the limit where nothing is said, and at most, in seconds
_SIGNAL_TIME, _SIGNAL_TIME_MOST = 60, 65535
#: sizes are whole numbers of these units; the lower bound is what sbatch accepts
_COUNTS = ("nodes", "cpus")
_TEXTS = ("partition", "gres", "account", "qos", "constraint", "reservation", "exclude", "nodelist")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an asset needs of the cluster. ``None`` leaves it to what is said elsewhere, in the end to Slurm.

    Args:
        partition: partition, or several with commas between.
        nodes: number of nodes.
        cpus: CPUs for the task (``--cpus-per-task``).
        mem: memory per node: MiB as a number, or with a unit: ``"4G"``. Excludes ``mem_per_cpu``.
        mem_per_cpu: memory per CPU: MiB as a number, or with a unit.
        gpus_per_node: number of GPUs on each node, or with a type: ``"a100:4"``.
        gpu_directive: how the site wants GPUs to be asked for: ``"gres"`` or ``"gpus-per-node"``.
        gres: further generic resources per node: ``"shard:2,license:1"``.
        time_limit: minutes as a number, or as sbatch writes it: ``"01:30:00"``, ``"2-12"``.
        account: account to charge.
        qos: quality of service.
        constraint: node features.
        reservation: reservation to run in.
        exclude: nodes to stay away from.
        nodelist: nodes to use.
        signal_before_timeout: ``"USR1@300"`` sends that signal to the payload 300 seconds before the time limit
            (Slurm may be up to 60 seconds early); a number of seconds sends TERM.
        options: any further sbatch option by its name: ``{"mail-type": "END", "exclusive": True}``. Those with a
            field of their own are found in that field.

    Raises:
        ConfigurationError: a value that sbatch would not understand, or an option that it does not know, named.
    """

    partition: str | None = None
    nodes: int | None = None
    cpus: int | None = None
    mem: str | int | None = None
    mem_per_cpu: str | int | None = None
    gpus_per_node: int | str | None = None
    gpu_directive: GpuDirective | None = None
    gres: str | None = None
    time_limit: str | int | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    signal_before_timeout: str | int | None = None
    options: Mapping[str, str | float | bool] = field(default_factory=dict[str, "str | float | bool"])

    def __post_init__(self) -> None:
        """Refuse at once what sbatch would refuse, or understand in another way."""
        self._settle()
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        for name in ("mem", "mem_per_cpu"):
            value = getattr(self, name)
            if value is not None:
                mebibytes(value, name)
        if self.mem is not None and self.mem_per_cpu is not None:
            raise ConfigurationError("mem and mem_per_cpu exclude each other", hint="Give one of the two.")
        _check_pattern("gpus_per_node", self.gpus_per_node, _GPUS, 'a number, or type and number such as "a100:4"')
        _check_pattern("time_limit", self.time_limit, _TIME, 'minutes, or text such as "01:30:00" or "2-12:00"')
        if self.signal_before_timeout is not None:
            parse_signal(self.signal_before_timeout)
        if self.gpu_directive not in (None, "gres", "gpus-per-node"):
            raise ConfigurationError(
                f"gpu_directive={self.gpu_directive!r} is not known", hint='Use "gres" or "gpus-per-node".'
            )
        for item in dataclasses.fields(self):
            _check_text(item.name, getattr(self, item.name))
        for name in _TEXTS:
            if not isinstance(getattr(self, name), (str, type(None))):
                raise ConfigurationError(f"{name}={getattr(self, name)!r} is not text", hint="Give text.")

    def _settle(self) -> None:
        """Let everything stand in one place: an option that has a field in that field, GPUs among gres as GPUs."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        others: dict[str, Any] = {}
        for name, value in cast("Mapping[str, object]", self.options).items():
            option = canonical(name)
            target = FIELDS.get(option)
            if not isinstance(value, (str, int, float)):
                raise ConfigurationError(f"--{option}={value!r} is not understood", hint="Give text, a number or True.")
            if target is not None:
                _put(values, target, _number(target, value), option)
            elif option in ("requeue", "no-requeue"):
                _put(others, "requeue", bool(value) is (option == "requeue"), option)
            else:
                _put(others, option, value, option)
        values["options"] = others
        _split_gres(values)
        for name, value in values.items():
            object.__setattr__(self, name, value.strip() if isinstance(value, str) and value.isprintable() else value)

    def over(self, base: Resources) -> Resources:
        """Return these resources, completed by what ``base`` says where they say nothing."""
        merged = {
            item.name: getattr(base, item.name) if getattr(self, item.name) is None else getattr(self, item.name)
            for item in dataclasses.fields(self)
        }
        if self.mem is not None:
            merged["mem_per_cpu"] = None
        elif self.mem_per_cpu is not None:
            merged["mem"] = None
        merged["options"] = {**base.options, **self.options}
        return Resources(**merged)

    @property
    def gpu_count(self) -> int:
        """GPUs per node, as a number."""
        return 0 if self.gpus_per_node is None else int(str(self.gpus_per_node).rsplit(":", 1)[-1])


def merge(*sayings: Resources | None) -> Resources:
    """Return what several sayings amount to; earlier ones win."""
    result = Resources()
    for saying in sayings:
        if saying is not None:
            result = result.over(saying)
    return result


def mebibytes(value: str | int, name: str = "mem") -> int:
    """Return an amount of memory in MiB; a plain number is MiB, as in sbatch.

    Raises:
        ConfigurationError: it is no amount of memory.
    """
    match = _MEMORY.match(str(value).strip())
    if match is None or isinstance(value, bool):
        raise ConfigurationError(
            f"{name}={value!r} is not an amount of memory", hint='Give MiB as a number, or a unit: 4000, "4000M", "4G".'
        )
    # rounded up: 0 would mean all of a node's memory
    return math.ceil(int(match.group(1)) * _MEMORY_UNIT[match.group(2).upper()])


def limit_seconds(limit: str | int | None) -> int | None:
    """Return a time limit in seconds, as sbatch reads it; None for none at all and for ``unlimited``."""
    text = str(limit).strip().lower()
    if limit is None or text in ("unlimited", "infinite"):
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # d-hh, d-hh:mm, d-hh:mm:ss
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:  # minutes, mm:ss
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds or None  # sbatch(1): 0 is none at all


def time_text(seconds: int) -> str:
    """Return a time limit as sbatch reads it, in whole minutes: Slurm counts in those."""
    minutes = math.ceil(seconds / 60)
    days, rest = divmod(minutes, 24 * 60)
    return f"{f'{days}-' if days else ''}{rest // 60:02}:{rest % 60:02}:00"


def parse_signal(value: str | int) -> tuple[str, int]:
    """Return signal name and seconds before the time limit.

    Raises:
        ConfigurationError: it is neither a number of seconds nor ``NAME@seconds``.
    """
    text = f"TERM@{value}" if isinstance(value, int) and not isinstance(value, bool) else str(value).strip().upper()
    match = _SIGNAL.match(text)
    name, seconds = (match.group(1), int(match.group(2) or _SIGNAL_TIME)) if match else ("", 0)
    name = next((known for known, number in SIGNALS.items() if name == str(number)), name)
    if name not in SIGNALS or seconds > _SIGNAL_TIME_MOST:
        raise ConfigurationError(
            f"signal_before_timeout={value!r} is not understood",
            hint=f'Give seconds before the time limit, or signal and seconds: 300, "USR1@300". '
            f"Signals: {', '.join(SIGNALS)}.",
        )
    return name, seconds


def _put(values: dict[str, Any], name: str, value: object, option: str) -> None:
    if values.get(name) is not None and value is not None:
        raise ConfigurationError(f"--{option} is given twice", hint="Give it once.")
    values[name] = value


def _number(name: str, value: object) -> object:
    """Take ``"4"`` for 4 where a count is meant, as it comes from environment variables and YAML."""
    return int(value) if name in _COUNTS and isinstance(value, str) and value.isdecimal() else value


def _split_gres(values: dict[str, Any]) -> None:
    """Take GPUs out of ``gres``: of two sayings about GPUs sbatch would count the last, and nobody could merge them."""
    parts = [part.strip() for part in str(values["gres"] or "").split(",") if part.strip()]
    gpus = [part for part in parts if part.split(":")[0] == "gpu"]
    if not gpus:
        return
    if len(gpus) > 1:
        raise ConfigurationError(
            f"gres={values['gres']!r} asks for GPUs twice", hint="Give one type of GPU: gpus_per_node='a100:2'."
        )
    _, _, asked = gpus[0].partition(":")
    number = asked if asked.rpartition(":")[2].isdecimal() else f"{asked}:1".lstrip(":")
    if values["gpus_per_node"] is not None and str(values["gpus_per_node"]) != number:
        raise ConfigurationError(
            f"gres={values['gres']!r} and gpus_per_node={values['gpus_per_node']!r} both ask for GPUs",
            hint="Leave them out of gres.",
        )
    values["gpus_per_node"] = number
    values["gres"] = ",".join(part for part in parts if part not in gpus) or None


def _check_count(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigurationError(f"{name}={value!r} is not a number of {name}", hint="Give a whole number above 0.")


def _check_pattern(name: str, value: object, pattern: re.Pattern[str], expected: str) -> None:
    if value is not None and (isinstance(value, bool) or not pattern.match(str(value).strip())):
        raise ConfigurationError(f"{name}={value!r} is not understood", hint=f"Give {expected}.")


def _check_text(name: str, value: object) -> None:
    if isinstance(value, str) and (not value.strip() or any(ord(letter) < 32 or letter == "\x7f" for letter in value)):
        raise ConfigurationError(
            f"{name}={value!r} is empty or has control characters", hint="Leave it out or mend it."
        )
