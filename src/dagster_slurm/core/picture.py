"""What a job used over time, as a picture that Dagster's UI shows: an SVG inside Markdown. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise

from dagster_slurm.core.record import Samples

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 200, 46, 60, 24, 28
_CPU, _MEMORY = "#4f43dd", "#d2691e"


def picture(samples: Samples, limit: int = 0) -> str:
    """Return Markdown with the picture in it.

    Args:
        samples: at least two.
        limit: the job's memory per node in MiB; 0 if it is not known.
    """
    encoded = base64.b64encode(svg(samples, limit).encode()).decode()
    return f"![CPU and memory over time](data:image/svg+xml;base64,{encoded})"


def svg(samples: Samples, limit: int = 0) -> str:
    """Return the picture: CPUs that were busy between two looks, and memory at each."""
    busy = _busy(samples)
    last = max(samples.seconds[-1], 1.0)
    most_cpu, most_mib = max(*busy, 1.0), max(*samples.mib, 1.0)
    title = f"{most_cpu:.1f} CPUs, {most_mib:.0f} MiB at most"
    if limit:
        title += f" of {limit} MiB"
    plots = _line(samples.seconds[1:], busy, last, most_cpu, _CPU) + _line(
        samples.seconds, samples.mib, last, most_mib, _MEMORY
    )
    floor = _HEIGHT - _BOTTOM
    texts = (
        _text(_LEFT, 14, title, "#555"),
        _text(4, _TOP + 10, f"{most_cpu:.1f}", _CPU),
        _text(4, floor, "CPUs", _CPU),
        _text(_WIDTH - _RIGHT + 6, _TOP + 10, f"{most_mib:.0f}", _MEMORY),
        _text(_WIDTH - _RIGHT + 6, floor, "MiB", _MEMORY),
        _text(_LEFT, _HEIGHT - 8, "0 s", "#555"),
        _text(_WIDTH - _RIGHT - 34, _HEIGHT - 8, f"{last:.0f} s", "#555"),
    )
    frame = (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH - _LEFT - _RIGHT}" height="{floor - _TOP}" '
        'fill="#fff" stroke="#ccc"/>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        f'font-size="11">{frame}{plots}{"".join(texts)}</svg>'
    )


def _busy(samples: Samples) -> list[float]:
    """Return the CPUs that were busy between each two looks; what ended uncounted makes no negative ones."""
    looks = list(zip(samples.seconds, samples.cpu, strict=True))
    return [max(after[1] - before[1], 0.0) / max(after[0] - before[0], 0.1) for before, after in pairwise(looks)]


def _line(seconds: Sequence[float], values: Sequence[float], last: float, most: float, colour: str) -> str:
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    points = " ".join(
        f"{_LEFT + wide * second / last:.1f},{_HEIGHT - _BOTTOM - 0.95 * high * value / most:.1f}"
        for second, value in zip(seconds, values, strict=True)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}">{text}</text>'
