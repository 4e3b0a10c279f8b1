"""The marks by which processes take turns, where one of them was killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dagster_slurm.engine.turns import Turns


def mark(folder: Path, number: int, *, age: float) -> Path:
    path = folder / f"waiting.{number:020d}.77.ab"
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_who_was_killed_in_the_line_holds_nobody_up_and_leaves_nothing(tmp_path: Path) -> None:
    """A mark is renewed ten times a second by who waits."""
    gone, long_gone = mark(tmp_path, 1, age=10), mark(tmp_path, 2, age=700)
    turns = Turns(tmp_path)
    assert not turns.others_wait()
    turns.wait(60)
    turns.served()
    assert list(tmp_path.iterdir()) == [gone]
    assert not long_gone.exists()


def test_who_waits_longer_goes_first(tmp_path: Path) -> None:
    mark(tmp_path, 1, age=0)
    turns = Turns(tmp_path)
    assert turns.others_wait()
    begun = time.monotonic()
    turns.wait(0.5)
    assert time.monotonic() - begun >= 0.5
