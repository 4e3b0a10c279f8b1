"""What accounting says that a job used, beside its memory: fields of sacct(1), as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

#: what a job used of each trackable resource: GPUs are in it where the site gathers that (AcctGather, gres/gpuutil)
USAGE_FIELDS = ("TRESUsageInAve", "TRESUsageInMax")
_UTILISATION, _MEMORY = "gres/gpuutil", "gres/gpumem"
_SCALE = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_CPU_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)$")


def used(whole: Mapping[str, str], steps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return facts: ``CpuSeconds`` of all nodes; ``GpuUtilisation`` in percent and ``GpuKiB`` of the step with most."""
    found: dict[str, str] = {}
    cpu = _seconds(whole.get("TotalCPU", ""))
    if cpu:
        found["CpuSeconds"] = str(cpu)
    for name, tres, field in (
        ("GpuUtilisation", _UTILISATION, "TRESUsageInAve"),
        ("GpuKiB", _MEMORY, "TRESUsageInMax"),
    ):
        values = [_amount(word) for step in steps if (word := _tres(step.get(field, "")).get(tres)) is not None]
        if values:
            most = max(values)
            found[name] = str(most / 1024 if tres == _MEMORY else most)
    return found


def _tres(text: str) -> dict[str, str]:
    """Return ``cpu=00:01:00,gres/gpumem=512M`` as names and values."""
    return dict(item.split("=", 1) for item in text.split(",") if "=" in item)


def _amount(text: str) -> float:
    match = re.match(r"([\d.]+)([KMGT]?)$", text.strip())
    return float(match.group(1)) * _SCALE[match.group(2)] if match else 0.0


def _seconds(text: str) -> float:
    """Return ``1-02:03:04``, ``02:03:04`` or ``03:04.567`` in seconds."""
    match = _CPU_TIME.match(text.strip())
    if match is None:
        return 0.0
    days, hours, minutes, seconds = match.groups(default="0")
    return round(int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)
