"""Resources as ``#SBATCH`` lines."""

from __future__ import annotations

import re

from dagster_slurm.core.resources import Resources, mebibytes, parse_signal
from dagster_slurm.errors import ConfigurationError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,*\[\]|&()-]+$")


def directives(asked: Resources, *, batch: bool = True) -> list[str]:
    """Return sbatch options, quoted for ``#SBATCH`` lines, in a fixed order.

    Args:
        asked: what is asked for.
        batch: signals before the time limit go to the batch script; else to the job's steps.

    Raises:
        ConfigurationError: an unknown option, or a value that a directive cannot carry.
    """
    pairs: list[tuple[str, object]] = [
        ("partition", asked.partition),
        ("nodes", asked.nodes or 1),
        ("cpus-per-task", asked.cpus),
        ("mem", None if asked.mem is None else f"{mebibytes(asked.mem)}M"),
        ("mem-per-cpu", None if asked.mem_per_cpu is None else f"{mebibytes(asked.mem_per_cpu)}M"),
        *_generic(asked),
        ("time", asked.time_limit),
        ("account", asked.account),
        ("qos", asked.qos),
        ("constraint", asked.constraint),
        ("reservation", asked.reservation),
        ("exclude", asked.exclude),
        ("nodelist", asked.nodelist),
        ("signal", _signal(asked, batch)),
        *_requeue(asked),
        *((name, value) for name, value in sorted(asked.options.items()) if name != "requeue"),
    ]
    return [directive(name, value) for name, value in pairs if value is not None and value is not False]


def directive(name: str, value: object = True) -> str:
    """Return one option, quoted so that sbatch reads the value back as it is.

    Raises:
        ConfigurationError: the value has a line break or another control character.
    """
    if value is True:
        return f"--{name}"
    text = str(value)
    if any(ord(letter) < 32 for letter in text):
        raise ConfigurationError(f"--{name}={text!r} has control characters")
    if _PLAIN.match(text):
        return f"--{name}={text}"
    # sbatch knows both quotes and takes a backslash for an escape everywhere, inside quotes as well
    escaped = re.sub(r'(["\'\\#])', r"\\\1", text)
    return f'--{name}="{escaped}"'


def file_pattern(path: str) -> str:
    """Return a path as ``--output`` takes it: a pattern, in which ``%`` means something.

    A backslash anywhere in it switches that off, and is itself taken away unless doubled (tried on 22.05 and 24.11).
    """
    return path.replace("\\", "\\\\") if "\\" in path else path.replace("%", "%%")


def _generic(asked: Resources) -> list[tuple[str, object]]:
    """Several generic resources merge into one --gres: of two such options the last alone would count."""
    gres = [part.strip() for part in (asked.gres or "").split(",") if part.strip()]
    if asked.gpus_per_node is None or asked.gpu_count == 0:
        return [("gres", ",".join(gres) or None)]
    if asked.gpu_directive == "gpus-per-node":
        return [("gpus-per-node", asked.gpus_per_node), ("gres", ",".join(gres) or None)]
    return [("gres", ",".join([f"gpu:{asked.gpus_per_node}", *gres]))]


def _signal(asked: Resources, batch: bool) -> str | None:
    """``B:`` reaches the batch shell, which hands the signal on to the payload."""
    if asked.signal_before_timeout is None:
        return None
    name, seconds = parse_signal(asked.signal_before_timeout)
    return f"{'B:' if batch else ''}{name}@{seconds}"


def _requeue(asked: Resources) -> list[tuple[str, object]]:
    """One of the two is always said: the site's default differs."""
    return [("requeue" if asked.options.get("requeue", True) else "no-requeue", True)]
