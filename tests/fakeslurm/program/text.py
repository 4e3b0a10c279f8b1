"""Times, sizes, durations and node lists as Slurm reads and writes them."""

from __future__ import annotations

import time

from .options import UsageError

ISO = "%Y-%m-%dT%H:%M:%S"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def stamp(moment: float, otherwise: str) -> str:
    return time.strftime(ISO, time.localtime(moment)) if moment else otherwise


def used(seconds: float) -> str:
    """`0:05`, `1:02:03`, `1-02:03:04`: squeue's %M."""
    days, hours, minutes, rest = split(seconds)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def elapsed(seconds: float) -> str:
    """`00:00:05`, `1-02:03:04`: sacct's Elapsed."""
    days, hours, minutes, rest = split(seconds)
    return (f"{days}-" if days else "") + f"{hours:02}:{minutes:02}:{rest:02}"


def cpu_time(seconds: float) -> str:
    """`00:00.123`: sacct's TotalCPU."""
    days, hours, minutes, rest = split(seconds)
    if days or hours or not int(seconds * 1000):
        return elapsed(seconds)
    return f"{minutes:02}:{rest:02}.{int(seconds * 1000) % 1000:03}"


def split(seconds: float) -> tuple[int, int, int, int]:
    whole = max(0, int(seconds))
    return whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60


def limit_minutes(text: str) -> float | None:
    """A time limit: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; None for unlimited."""
    if text.upper() in {"UNLIMITED", "INFINITE", "-1"}:
        return None
    days, dash, clock = text.rpartition("-")
    try:
        numbers = [int(part) for part in clock.split(":")]
        if dash:
            hours, minutes, seconds = [*numbers, 0, 0][:3]
        elif len(numbers) == 3:
            hours, minutes, seconds = numbers
        else:
            hours, minutes, seconds = 0, numbers[0], [*numbers, 0][1]
        total = int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60
    except ValueError:
        raise UsageError("sbatch: error: Invalid --time specification", 255) from None
    return total or None


def megabytes(text: str) -> int:
    """`100`, `100M`, `2G` in MiB."""
    factors = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in factors else (text, "M")
    try:
        return round(int(number) * factors[unit])
    except ValueError:
        raise UsageError("sbatch: error: Invalid --mem specification", 255) from None


def memory(mib: int) -> str:
    return f"{mib // 1024}G" if mib and mib % 1024 == 0 else f"{mib}M"


def moment(text: str, now: float) -> float:
    """A point in time: ISO, a clock time of today, `now`, `now-2days`, `midnight`."""
    word = text.strip()
    if word.lower().startswith("now"):
        return now + _offset(word[3:], text)
    midnight = time.mktime((*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1))
    if word.lower() in {"midnight", "today"}:
        return midnight
    for pattern in (ISO, "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        day = _parsed(word, pattern)
        if day is not None:
            return time.mktime(day)
    clock = _parsed(word, "%H:%M:%S") or _parsed(word, "%H:%M")
    if clock is not None:
        return midnight + clock.tm_hour * 3600 + clock.tm_min * 60 + clock.tm_sec
    raise UsageError(f"Invalid time specification (pos=0): {text}")


def _parsed(word: str, pattern: str) -> time.struct_time | None:
    try:
        return time.strptime(word, pattern)
    except ValueError:
        return None


def _offset(text: str, whole: str) -> float:
    if not text:
        return 0.0
    digits = "".join(character for character in text[1:] if character.isdigit())
    unit = text[1 + len(digits) :]
    if text[0] not in "+-" or not digits or (unit and unit[0] not in UNITS):
        raise UsageError(f"Invalid time specification (pos=3): {whole}")
    return int(digits) * UNITS[unit[0] if unit else "s"] * (1 if text[0] == "+" else -1)


def node_list(count: int) -> str:
    """The first nodes, as a host list expression."""
    return "node1" if count == 1 else f"node[1-{count}]"


def first_node(expression: str) -> str:
    name, bracket, numbers = expression.partition("[")
    return name + numbers.split("-")[0].split(",")[0] if bracket else expression
