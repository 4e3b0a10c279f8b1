"""Record a command's output as a picture that plays: ``recording.py PICTURE.svg FROM COMMAND...``.

It begins with the first line that begins with FROM. Lines appear when the command printed them, pauses shortened.
What names this machine (the clone, the cluster's user) is written as a reader would have it. The picture
needs no program to play, and no other file.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WIDTH, LINE, MARGIN, LETTER = 118, 17, 14, 7.3
#: seconds: of pauses at most, and at the end before it starts again
PAUSE, END = 1.2, 6.0
#: two blanks that browsers keep
HARD = "\u00a0 "
_COLOURS = (
    (r"^Scene \d", "#7fd7ff"),
    (r"kill -9|failed$|ran out of memory", "#ff8f8f"),
    (r"Re-attached|as it should|done in", "#9fe8a0"),
    (r"waits in the queue|What to do", "#ffd97f"),
    (r"^\s+\|", "#9aa4b2"),
)


def record(command: list[str]) -> list[tuple[float, str]]:
    """Run a command; return its lines with the seconds at which they appear.

    Raises:
        SystemExit: it failed.
    """
    found: list[tuple[float, str]] = []
    shown, last = 0.0, time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            shown += min(now - last, PAUSE)
            last = now
            found += [(shown, part) for part in wrapped(plain(line.rstrip("\n")))]
    if process.returncode:
        sys.exit("\n".join(text for _, text in found[-20:]) + f"\nrecording: {command} failed")
    return found


def beginning(first: str, lines: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the lines from the first that begins so, which appears at once."""
    place = next((number for number, (_, text) in enumerate(lines) if text.startswith(first)), 0)
    return [(when - lines[place][0], text) for when, text in lines[place:]]


def plain(text: str) -> str:
    """Return a line without what names this machine."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    text = re.sub(rf"{re.escape(str(REPOSITORY))}/\.cluster/[\w-]+/home", "~", text)
    text = text.replace(str(REPOSITORY), "~/project")
    return re.sub(r"[\w.-]+@127\.0\.0\.1(:\d+)?", "me@login1", text)


def wrapped(text: str) -> list[str]:
    """Return a line in pieces that fit."""
    return [text[start : start + WIDTH] for start in range(0, max(len(text), 1), WIDTH)]


def picture(lines: list[tuple[float, str]]) -> str:
    """Return the picture."""
    whole = (lines[-1][0] if lines else 0.0) + END
    width, height = WIDTH * LETTER + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    body: list[str] = []
    for number, (when, text) in enumerate(lines):
        colour = next((colour for pattern, colour in _COLOURS if re.search(pattern, text)), "#e6e6e6")
        begin = f"{100 * when / whole:.2f}"
        shown = escape(text).replace("  ", HARD)
        body.append(
            f'<text x="{MARGIN}" y="{MARGIN + (number + 1) * LINE - 4}" fill="{colour}">{shown}'
            f'<animate attributeName="opacity" dur="{whole:.1f}s" repeatCount="indefinite" calcMode="discrete" '
            f'values="0;1" keyTimes="0;{float(begin) / 100:.4f}"/></text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}"><rect width="100%" height="100%" rx="8" fill="#14181f"/>'
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="12">'
        + "\n".join(body)
        + "</g></svg>\n"
    )


if __name__ == "__main__":
    target, first, *command = sys.argv[1:]
    Path(target).write_text(picture(beginning(first, record(command))))
