from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dagster_slurm.remote import cleaning

DAY = 86400.0
KEEP = {"success": 3 * DAY, "failure": 30 * DAY}
START = '{"event":"start","job":"1","restart":0}\n'
EXIT = '{"event":"exit","restart":0,"code":0,"signalled":false}\n'


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_PAUSE", 0.0)


def run_directory(base: Path, name: str, *, age: float, record: str = START + EXIT, outcome: str = "") -> Path:
    """A run in which nothing has happened for ``age`` days."""
    directory = base / "runs" / "run" / name / "call.0"
    (directory / "work").mkdir(parents=True)
    files = {"record.jsonl": record, "job.id": '{"id": "1"}', "env.sh": "secret", "stdout.0": "out"}
    if outcome:
        files["collected.json"] = json.dumps({"outcome": outcome})
    for file, text in files.items():
        (directory / file).write_text(text)
        moment = time.time() - age * DAY
        os.utime(directory / file, (moment, moment))
    os.utime(directory, (time.time() - age * DAY,) * 2)
    return directory


@pytest.mark.parametrize(
    ("outcome", "age", "removed"),
    [
        ("success", 2.9, False),
        ("success", 3.1, True),
        ("failure", 29, False),
        ("failure", 31, True),
        ("", 29, False),  # never collected: somebody may come back for it
        ("", 31, True),
    ],
)
def test_what_is_kept_for_how_long(tmp_path: Path, outcome: str, age: float, removed: bool) -> None:
    directory = run_directory(tmp_path, "step", age=age, outcome=outcome)
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == int(removed)
    assert directory.exists() is not removed


@pytest.mark.parametrize("record", ["", START, START + EXIT.replace('"exit"', '"usage"')])
@pytest.mark.parametrize("age", [31, 100, 170])
def test_a_job_that_may_still_wait_or_run_is_never_removed(tmp_path: Path, record: str, age: float) -> None:
    """Queues of months exist, and jobs that say nothing for weeks."""
    directory = run_directory(tmp_path, "step", age=age, record=record)
    assert len(cleaning.sweep(str(tmp_path), {"success": 0.0, "failure": 0.0})) == 0
    assert directory.exists()


def test_what_nobody_will_come_back_for(tmp_path: Path) -> None:
    run_directory(tmp_path, "step", age=200, record=START)
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == 1
    assert list((tmp_path / "runs").iterdir()) == [], "empty folders go too"


@pytest.mark.parametrize(("keep", "removed"), [({}, 0), ({"success": DAY}, 1), ({"failure": DAY}, 0)])
def test_an_outcome_that_is_kept_for_ever(tmp_path: Path, keep: dict[str, float], removed: int) -> None:
    run_directory(tmp_path, "step", age=400, outcome="success")
    assert len(cleaning.sweep(str(tmp_path), keep)) == removed


@pytest.mark.parametrize("file", ["record.jsonl", "stdout.0", "collected.json"])
def test_a_sign_of_life_counts(tmp_path: Path, file: str) -> None:
    directory = run_directory(tmp_path, "step", age=50, outcome="failure")
    os.utime(directory / file)
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == 0


def test_neighbours_are_left_alone(tmp_path: Path) -> None:
    old, new = (run_directory(tmp_path, name, age=age, outcome="success") for name, age in (("old", 9), ("new", 1)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "runs" / "note.txt").write_text("x")
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == 1
    assert not old.exists()
    assert new.exists()
    assert (tmp_path / "mine").exists()
    assert (tmp_path / "runs" / "note.txt").exists()


def killed_in_mid_work(step: Path, *, age: float) -> list[Path]:
    """What a process leaves that was killed as it staged, held its lock, or took away that of another."""
    staging = step / ".stage.call.1.77.ab"
    (staging / "work").mkdir(parents=True)
    (staging / "env.sh").write_text("export TOKEN=secret")
    locks = [step / name for name in (".call.1.lock", ".call.1.lock.host.77.ab", ".call.1.lock.78.cd.stale")]
    for lock in locks:
        lock.write_text("[]")
    for path in (*locks, staging):
        os.utime(path, (time.time() - age * DAY,) * 2)
    return [staging, *locks]


def test_what_killed_processes_left_goes_after_a_day(tmp_path: Path) -> None:
    step = run_directory(tmp_path, "step", age=2).parent
    left = killed_in_mid_work(step, age=1.1)
    at_it = killed_in_mid_work(run_directory(tmp_path, "other", age=2).parent, age=0.9)
    assert cleaning.sweep(str(tmp_path), {}) == []
    assert [path.name for path in step.iterdir()] == ["call.0"]
    assert all(path.exists() for path in at_it)
    assert not [path for path in left if path.exists()]


def test_a_step_of_which_only_leftovers_remain_goes_whole(tmp_path: Path) -> None:
    directory = run_directory(tmp_path, "step", age=9, outcome="success")
    killed_in_mid_work(directory.parent, age=9)
    assert cleaning.sweep(str(tmp_path), KEEP) == [str(directory)]
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_is_only_being_made_is_no_run(tmp_path: Path) -> None:
    directory = run_directory(tmp_path, "step", age=1)
    killed_in_mid_work(directory.parent, age=0)
    assert list(cleaning.run_directories(str(tmp_path))) == [str(directory)]


def test_what_a_link_points_to_is_left_alone(tmp_path: Path) -> None:
    directory = run_directory(tmp_path, "step", age=9, outcome="success")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    (directory / "work" / "link").symlink_to(precious)
    os.utime(directory, (time.time() - 9 * DAY,) * 2)
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == 1
    assert (precious / "data").read_text() == "x"


def test_read_only_results_do_not_stop_it(tmp_path: Path) -> None:
    directory = run_directory(tmp_path, "a", age=9, outcome="success")
    (directory / "work" / "file").write_text("x")
    (directory / "work").chmod(0o500)
    run_directory(tmp_path, "b", age=9, outcome="success")
    os.utime(directory, (time.time() - 9 * DAY,) * 2)
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == 2


def test_it_is_due_once_a_day_and_one_does_it(tmp_path: Path) -> None:
    base = str(tmp_path)
    assert cleaning.due(base)
    assert not cleaning.due(base), "somebody is at it"
    cleaning.sweep(base, KEEP)
    assert not cleaning.due(base), "it was done"
    os.utime(tmp_path / ".swept", (time.time() - 25 * 3600,) * 2)
    assert cleaning.due(base)


def test_who_died_over_it_is_followed_by_another(tmp_path: Path) -> None:
    assert cleaning.due(str(tmp_path))
    os.utime(tmp_path / ".sweeping", (time.time() - 2 * 3600,) * 2)
    assert cleaning.due(str(tmp_path))


def test_a_base_that_is_not_there_or_empty(tmp_path: Path) -> None:
    assert len(cleaning.sweep(str(tmp_path), KEEP)) == 0


def test_collected(tmp_path: Path) -> None:
    directory = run_directory(tmp_path, "step", age=0)
    assert cleaning.outcome(str(directory)) is None
    cleaning.mark_collected(str(directory), "success")
    cleaning.mark_collected(str(directory), "success")
    assert cleaning.outcome(str(directory)) == "success"
    assert not (directory / "env.sh").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"other": 1}', "7"])
def test_a_damaged_mark_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "collected.json").write_text(text)
    assert cleaning.outcome(str(tmp_path)) is None
