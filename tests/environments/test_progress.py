"""What is shown while an environment is packed, sent and built: a bar on a terminal, sparse lines in a log."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_slurm.environments import progress
from tests.environments.conftest import Told

#: two hundred columns, so that nothing of the bar is left out
_SIZE = {"COLUMNS": "200", "LINES": "50", "TERM": "xterm"}


def push(base: Path, project: Path, stderr: int) -> subprocess.Popen[str]:
    main = "from dagster_slurm.cli import main; main()"
    command = [sys.executable, "-c", main, "env", "push", "here", "--env-base", str(base)]
    return subprocess.Popen(
        [*command, "--project", str(project), "--python", sys.executable],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **_SIZE},
    )


def until_closed(terminal: int, seen: list[bytes]) -> None:
    try:
        while piece := os.read(terminal, 65536):
            seen.append(piece)
    except OSError:  # so Linux says that the other side is closed
        pass


def test_a_bar_on_a_terminal(project: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = push(tmp_path / "envs", project, theirs)
    os.close(theirs)
    seen: list[bytes] = []
    reader = threading.Thread(target=until_closed, args=(ours, seen))
    reader.start()
    stdout, _ = process.communicate(timeout=120)
    reader.join()
    os.close(ours)
    text = b"".join(seen).decode()
    assert process.returncode == 0, text
    assert re.search(r"Sending packages .*━.*MB", text), text
    assert "Sending 5 of 5 packages" in text
    assert re.search(r"Building environment.*0:00:\d\d", text), text
    # it goes again, and what is left are the lines; programs read the other stream
    assert text.rstrip().endswith("\x1b[2K") or "were sent." in text.splitlines()[-1]
    assert set(json.loads(stdout)) == {"path", "key", "platform", "python"}


@pytest.mark.slow
def test_lines_alone_elsewhere(project: Path, tmp_path: Path) -> None:
    process = push(tmp_path / "envs", project, subprocess.PIPE)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "\x1b" not in text
    assert "━" not in text
    first, last = text.splitlines()
    assert first.startswith("Sending 5 of 5 packages (")
    assert last.endswith("were sent.")


def test_lines_are_sparse_and_say_how_far_it_is(
    told: Told, tell: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent() -> None:
        with progress.Progress(tell, packages=2, size=4_000_000) as shown:
            for _ in range(4):
                shown.sent(1_000_000)
            shown.done()
            shown.sent(0)

    sent()  # far less than the pause between two lines
    assert told == []
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    sent()
    assert len(told) == 5
    assert re.fullmatch(r"Sent 2\.0 MB of 4\.0 MB, 0 of 2 packages, [\d.]+ [MG]B/s\.", told[1])
    assert told[4].startswith("Sent 4.0 MB of 4.0 MB, 1 of 2 packages")


def test_what_has_no_measure_says_that_it_goes_on(
    told: Told, tell: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.busy(tell, "Packing"):
        pass
    assert told == []
    monkeypatch.setattr(progress, "_STILL", 0.01)
    heard = threading.Event()

    def hear(text: str) -> None:
        told.append(text)
        heard.set()

    with progress.busy(hear, "Packing"):
        assert heard.wait(60)
    assert told[0].startswith("Packing: ")
    assert told[0].endswith(" s so far.")
