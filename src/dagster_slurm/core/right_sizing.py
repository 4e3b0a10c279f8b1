"""From what past runs of an asset asked for and used: what would have done. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dagster_slurm.core.resources import limit_seconds

#: so many runs must agree before anything is said
LEAST_RUNS = 3
#: how many of the latest are looked at
MOST_RUNS = 12
#: what is left above the largest use that was seen
_SPARE = 1.3
#: less than this part of what was asked for would do: then it is said
_WORTH_SAYING = 0.6
#: shorter time limits do not start sooner (seconds)
_SHORT = 900

Facts = Mapping[str, object]


def hints(runs: Sequence[Facts]) -> list[str]:
    """Return sentences about memory, CPUs and time that runs asked for in vain; none if all is well.

    Args:
        runs: facts of the job of each run that ended well (``requested_memory_mib``, ``peak_memory_mib``, ...), the
            latest first. What the latest asks for is judged.
    """
    latest = runs[:MOST_RUNS]
    found = (_memory(latest), _cpus(latest), _time(latest))
    return [text for text in found if text]


def _memory(runs: Sequence[Facts]) -> str:
    asked = _number(runs[0], "requested_memory_mib") if runs else None
    used = _all(runs, "peak_memory_mib")
    if asked is None or len(used) < LEAST_RUNS:
        return ""
    enough = _round_up(max(used) * _SPARE)
    if enough >= asked * _WORTH_SAYING:
        return ""
    return f"asked {size(asked)} of memory, used {size(max(used))} at most in {len(used)} runs: {size(enough)} would do"


def _cpus(runs: Sequence[Facts]) -> str:
    asked = _number(runs[0], "cpus") if runs else None
    pairs = [(_number(run, "cpu_efficiency"), _number(run, "cpus")) for run in runs]
    busy = [share * cpus for share, cpus in pairs if share is not None and cpus is not None]
    if asked is None or len(busy) < LEAST_RUNS:
        return ""
    enough = max(math.ceil(max(busy)), 1)
    if enough >= asked * _WORTH_SAYING:
        return ""
    return f"asked {asked:g} CPUs, kept {max(busy):.1f} busy at most in {len(busy)} runs: {enough} would do"


def _time(runs: Sequence[Facts]) -> str:
    text = runs[0].get("requested_time") if runs else None
    asked = limit_seconds(str(text)) if text is not None else None
    took = _all(runs, "elapsed_seconds")
    if asked is None or len(took) < LEAST_RUNS:
        return ""
    enough = max(math.ceil(max(took) * _SPARE / 60) * 60, _SHORT)
    if enough >= asked * _WORTH_SAYING:
        return ""
    return f"asked {_clock(asked)}, took {_clock(max(took))} at most in {len(took)} runs: {_clock(enough)} would do"


def _number(run: Facts, name: str) -> float | None:
    value = run.get(name)
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _all(runs: Sequence[Facts], name: str) -> list[float]:
    return [value for run in runs if (value := _number(run, name)) is not None]


def _round_up(mebibytes: float) -> int:
    """Return an amount that a person would write: steps of 100 MiB below 1 GiB, of half a GiB below 8, else of one."""
    step = 100 if mebibytes <= 1024 else 512 if mebibytes <= 8192 else 1024
    return math.ceil(mebibytes / step) * step


def size(mebibytes: float) -> str:
    """Return an amount of memory as Slurm's options take it."""
    if mebibytes < 1024:
        return f"{mebibytes:.0f}M"
    return f"{mebibytes / 1024:.1f}".removesuffix(".0") + "G"


def _clock(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"
