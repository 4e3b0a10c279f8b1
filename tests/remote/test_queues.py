"""One look at the queue for all agents of a user on a node, in a folder that nobody else can touch."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.remote import queues
from dagster_slurm.remote.commands import Commands
from dagster_slurm.remote.queues import Queues, base_id, private_folder, rows_of

FORK = multiprocessing.get_context("fork")
# other tests of the same process may have threads; what is forked here needs none of their locks
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's folder for temporary files is the test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture
def squeue(tmp_path: Path) -> Path:
    """A squeue that counts its calls."""
    path = tmp_path / "bin" / "squeue"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho x >>{tmp_path}/calls\nsleep 0.3\necho '7|RUNNING'; echo '8_1|PENDING'\n")
    path.chmod(0o755)
    return path


def calls(tmp_path: Path) -> int:
    path = tmp_path / "calls"
    return len(path.read_text().split()) if path.exists() else 0


def looker(squeue: Path, emit: Any = lambda *_: None, accounting: list[str] | None = None) -> Queues:
    return Queues(Commands({"PATH": f"{squeue.parent}:/usr/bin:/bin"}), emit, ["squeue", "-h"], accounting or [])


def one_look(squeue: Path, results: Any) -> None:
    results.put(looker(squeue)._shared(["squeue", "-h"])["out"])


@pytest.mark.parametrize(
    ("job", "base"), [("7", "7"), ("7_2", "7"), ("7+1", "7"), ("7.batch", "7"), ("7_[0-3%2]", "7"), ("7;hpc", "7")]
)
def test_which_job_a_row_belongs_to(job: str, base: str) -> None:
    assert base_id(job) == base


def test_rows_of_some_jobs() -> None:
    text = "7|RUNNING\n77|PENDING\n 8_1|PENDING\n8_2|RUNNING\n\n9.batch|x\n"
    assert rows_of(text, {"7", "8", "9"}) == ["7|RUNNING", " 8_1|PENDING", "8_2|RUNNING", "9.batch|x"]


def test_eight_agents_ask_once(tmp_path: Path, squeue: Path) -> None:
    results = FORK.Queue()
    processes = [FORK.Process(target=one_look, args=(squeue, results)) for _ in range(8)]
    for process in processes:
        process.start()
    answers = {results.get(timeout=20) for _ in processes}
    for process in processes:
        process.join(10)
    assert answers == {"7|RUNNING\n8_1|PENDING\n"}
    assert calls(tmp_path) == 1


def test_a_look_is_fresh_for_a_while(tmp_path: Path, squeue: Path, own_folder: Path) -> None:
    first = looker(squeue)._shared(["squeue"])
    second = looker(squeue)._shared(["squeue"])
    assert first == second
    assert calls(tmp_path) == 1
    cache = next(own_folder.glob("*/queue.json"))
    look = json.loads(cache.read_text())
    for begun in (look["begun"] - 31, look["begun"] + 1000):  # old; of before the node was started again
        cache.write_text(json.dumps({**look, "begun": begun}))
        before = calls(tmp_path)
        looker(squeue)._shared(["squeue"])
        assert calls(tmp_path) == before + 1


def test_the_beginning_of_a_look_goes_with_it(squeue: Path) -> None:
    begun = time.monotonic()
    look = looker(squeue)._shared(["squeue"])
    assert begun <= look["begun"] <= time.monotonic() - 0.25


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7"])
def test_a_damaged_look_is_none(squeue: Path, own_folder: Path, text: str) -> None:
    folder = private_folder()
    assert folder is not None
    Path(folder, "queue.json").write_text(text)
    assert looker(squeue)._shared(["squeue"])["ok"]


def test_a_look_that_failed_says_why(squeue: Path) -> None:
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Socket timed out' >&2; echo '7|RUNNING'; exit 1\n")
    look = looker(squeue).queue_now({"7"})
    assert (look["ok"], look["rows"]) == (False, [])
    assert "Socket timed out" in look["error"]
    missing = looker(squeue, accounting=["no_such_command", "{ids}"]).account({"7"})
    assert (missing["ok"], missing["rows"]) == (False, [])
    assert "no_such_command" in missing["error"]


class TestPrivateFolder:
    def test_it_is_ours_alone(self, own_folder: Path) -> None:
        path = private_folder()
        assert path is not None
        assert Path(path).parent == own_folder
        assert Path(path).stat().st_mode & 0o777 == 0o700
        assert private_folder() == path

    def test_one_that_others_can_read_is_refused(self) -> None:
        path = private_folder()
        assert path is not None
        Path(path).chmod(0o755)
        assert private_folder() is None

    def test_a_link_is_refused(self, own_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "theirs").mkdir(mode=0o700)
        (own_folder / f"dagster-slurm-agents-{os.getuid()}").symlink_to(tmp_path / "theirs")
        assert private_folder() is None

    def test_a_file_in_its_place(self, own_folder: Path) -> None:
        (own_folder / f"dagster-slurm-agents-{os.getuid()}").write_text("")
        assert private_folder() is None

    @pytest.mark.skipif(os.getuid() != 0, reason="takes root to give a folder away")
    def test_one_of_another_user_is_refused(self) -> None:
        path = private_folder()
        assert path is not None
        os.chown(path, 12345, -1)
        assert private_folder() is None

    def test_without_one_everybody_asks_for_himself(self, tmp_path: Path, squeue: Path, own_folder: Path) -> None:
        (own_folder / f"dagster-slurm-agents-{os.getuid()}").write_text("")
        for _ in range(2):
            assert looker(squeue)._shared(["squeue"])["ok"]
        assert calls(tmp_path) == 2


def test_looks_begin_after_a_while_and_end_with_the_last_job(
    tmp_path: Path, squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_FIRST_LOOK", 0.1)
    events: list[dict[str, Any]] = []
    came = threading.Event()

    def emit(head: dict[str, Any], _body: bytes) -> None:
        events.append(head)
        came.set()

    looking = looker(squeue, emit)
    looking.follow(1, "7")
    assert came.wait(10)
    looking.leave(1)
    time.sleep(0.3)
    assert [(event["ev"], event["ok"], event["rows"]) for event in events] == [("queue", True, ["7|RUNNING"])]
    assert 0.25 < events[0]["age"] < 60
    assert calls(tmp_path) == 1


def test_who_is_not_in_the_queue_is_looked_for_in_accounting(squeue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sacct = squeue.parent / "sacct"
    sacct.write_text('#!/bin/sh\necho "$2|CANCELLED by 5"\n')
    sacct.chmod(0o755)
    events: list[dict[str, Any]] = []
    looking = looker(squeue, lambda head, _body: events.append(head), ["sacct", "-j", "{ids}"])
    looking._look({"7", "9"})
    assert [event["ev"] for event in events] == ["queue", "accounting"]
    assert events[1]["rows"] == ["9|CANCELLED by 5"]
