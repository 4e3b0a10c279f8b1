"""The lock, staging, and evidence, with processes that race and that are killed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_slurm.remote import rundir

FORK = multiprocessing.get_context("fork")
# other tests of the same process may have threads; what is forked here needs none of their locks
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def nothing(_work: str) -> None:
    """Put nothing into the working directory."""


def in_processes(count: int, target: Callable[..., None], *args: object) -> list[int | None]:
    """Run a function in several processes at once; return their exit codes."""
    processes = [FORK.Process(target=target, args=(number, *args)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    return [process.exitcode for process in processes]


@contextlib.contextmanager
def held_elsewhere(lock: Path) -> Iterator[int]:
    """Let another process hold a lock; gives its id."""
    ready = FORK.Event()

    def hold() -> None:
        with rundir.lock(str(lock), 5):
            ready.set()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    assert ready.wait(10)
    try:
        assert process.pid is not None
        yield process.pid
    finally:
        process.kill()
        process.join()


def count_up(_number: int, folder: Path) -> None:
    """Read, wait, write: without a lock, counts get lost."""
    for _ in range(5):
        with rundir.lock(str(folder / "lock"), 20):
            before = int((folder / "count").read_text())
            time.sleep(0.002)
            (folder / "count").write_text(str(before + 1))


class TestLock:
    def test_of_eight_processes_one_at_a_time_holds_it(self, tmp_path: Path) -> None:
        (tmp_path / "count").write_text("0")
        assert in_processes(8, count_up, tmp_path) == [0] * 8
        assert (tmp_path / "count").read_text() == "40"
        assert [path.name for path in tmp_path.iterdir()] == ["count"], "nothing is left behind"

    def test_who_waits_in_vain_is_told(self, tmp_path: Path) -> None:
        begun = time.monotonic()
        with held_elsewhere(tmp_path / "lock"), pytest.raises(rundir.Locked), rundir.lock(str(tmp_path / "lock"), 0.2):
            pass
        assert time.monotonic() - begun < 30  # of the sixty for which it is held

    def test_it_is_free_again_after_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="x"), rundir.lock(str(tmp_path / "lock"), 1):
            raise ValueError("x")
        with rundir.lock(str(tmp_path / "lock"), 0):
            pass

    def test_a_holder_of_this_machine_that_was_killed_is_not_waited_for(self, tmp_path: Path) -> None:
        with held_elsewhere(tmp_path / "lock") as pid:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            with rundir.lock(str(tmp_path / "lock"), 20):
                pass

    def test_a_lock_of_another_machine_is_stale_by_its_age_alone(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        lock.write_text(json.dumps(["elsewhere", 1]))
        with pytest.raises(rundir.Locked), rundir.lock(str(lock), 0.2):
            pass
        old = time.time() - 121
        os.utime(lock, (old, old))
        with rundir.lock(str(lock), 2):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_who_renews_it_keeps_it(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        with rundir.lock(str(lock), 1) as renew:
            lock.write_text(json.dumps(["elsewhere", 1]))
            os.utime(lock, (0, 0))
            renew()
            assert time.time() - lock.stat().st_mtime < 60
            with pytest.raises(rundir.Locked), rundir.lock(str(lock), 0.2):
                pass

    def test_a_stale_lock_is_taken_by_one_of_eight(self, tmp_path: Path) -> None:
        (tmp_path / "count").write_text("0")
        (tmp_path / "lock").write_text(json.dumps(["elsewhere", 1]))
        os.utime(tmp_path / "lock", (0, 0))
        assert in_processes(8, count_up, tmp_path) == [0] * 8
        assert (tmp_path / "count").read_text() == "40"

    def test_a_fresh_lock_that_was_taken_for_a_stale_one_is_given_back(self, tmp_path: Path) -> None:
        stale, fresh = tmp_path / "lock", tmp_path / "other"
        stale.write_text("stale")
        inode = stale.stat().st_ino
        fresh.write_text("fresh")
        fresh.replace(stale)
        rundir.remove_lock(str(stale), inode)
        assert stale.read_text() == "fresh"
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]

    def test_what_it_holds_names_the_process(self, tmp_path: Path) -> None:
        with rundir.lock(str(tmp_path / "lock"), 1):
            where, pid = json.loads((tmp_path / "lock").read_text())
        assert pid == os.getpid()
        assert where.startswith(socket.gethostname())

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), rundir.lock(str(tmp_path / "no" / "lock"), 1):
            pass


FILES: list[rundir.StagedFile] = [("job.sh", 0o700, b"job"), ("env.sh", 0o600, b"env"), ("record.jsonl", 0o600, b"")]


class TestStage:
    def test_a_fresh_directory_is_private_and_whole(self, tmp_path: Path) -> None:
        run = tmp_path / "runs" / "r" / "s" / "c.0"
        assert rundir.stage(str(run), FILES, lambda run: Path(run, "work", "extra").write_text("x") and None) is True
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run.iterdir()}
        assert modes == {"job.sh": 0o700, "env.sh": 0o600, "record.jsonl": 0o600, "work": 0o700}
        assert (run / "work" / "extra").read_text() == "x"
        for folder in (run, run.parent, run.parent.parent, tmp_path / "runs"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [path.name for path in run.parent.iterdir()] == ["c.0"]

    def test_one_that_is_there_gets_what_it_lacks_and_keeps_what_the_job_wrote(self, tmp_path: Path) -> None:
        run = tmp_path / "c.0"
        rundir.stage(str(run), FILES, nothing)
        (run / "env.sh").unlink()
        (run / "record.jsonl").write_text("written by the job")
        assert rundir.stage(str(run), FILES, nothing) is False
        assert (run / "env.sh").read_text() == "env"
        assert (run / "record.jsonl").read_text() == "written by the job"
        assert [path.name for path in tmp_path.iterdir()] == ["c.0"]

    def test_a_crash_in_the_middle_leaves_no_directory(self, tmp_path: Path) -> None:
        run = tmp_path / "c.0"

        def crash() -> None:
            rundir.stage(str(run), FILES, lambda _work: os.kill(os.getpid(), signal.SIGKILL))

        process = FORK.Process(target=crash)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not run.exists()
        assert len(list(tmp_path.iterdir())) == 1, "what was half made"
        assert rundir.stage(str(run), FILES, nothing) is True
        assert list(tmp_path.iterdir()) == [run]

    def test_an_error_in_the_middle_leaves_nothing(self, tmp_path: Path) -> None:
        def full(_work: str) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            rundir.stage(str(tmp_path / "c.0"), FILES, full)
        assert list(tmp_path.iterdir()) == []

    def test_of_eight_at_once_one_makes_it(self, tmp_path: Path) -> None:
        assert in_processes(8, stage_locked, tmp_path) == [0] * 8
        assert (tmp_path / "made").read_text() == "fresh\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["c.0", "made"]

    def test_a_stage_of_another_run_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / ".stage.c.1.0.77.abc").mkdir()
        (tmp_path / ".stage.c.1.77.abc").mkdir()
        rundir.stage(str(tmp_path / "c.1"), FILES, nothing)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".stage.c.1.0.77.abc", "c.1"]


def stage_locked(_number: int, folder: Path) -> None:
    """Stage as submit does."""
    with rundir.lock(str(folder / ".c.0.lock"), 20):
        if rundir.stage(str(folder / "c.0"), FILES, nothing):
            with (folder / "made").open("a") as made:
                made.write("fresh\n")


class TestEvidence:
    def test_of_nothing(self, tmp_path: Path) -> None:
        found = rundir.evidence(str(tmp_path / "none"))
        assert found == {"exists": False, "job": {}, "claim": "", "record": ""}
        assert not rundir.proves_job(found)

    @pytest.mark.parametrize(
        ("name", "text", "proves"),
        [
            ("job.id", '{"id": "7"}', True),
            ("job.id", "", False),
            ("job.id", '{"id": ', False),  # torn by a full disk
            ("claim", "7\n", True),
            ("claim", "", False),
            ("record.jsonl", '{"event":"start"}\n', True),
            ("record.jsonl", "", False),
            ("stdout.0", "x", False),
        ],
    )
    def test_of_each_file(self, tmp_path: Path, name: str, text: str, proves: bool) -> None:
        (tmp_path / name).write_text(text)
        assert rundir.proves_job(rundir.evidence(str(tmp_path))) is proves

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "record.jsonl").write_bytes(b"\xff\xfe\n")
        assert rundir.evidence(str(tmp_path))["record"]

    def test_a_directory_that_may_not_be_read_is_an_error_not_an_absence(self, tmp_path: Path) -> None:
        (tmp_path / "claim").mkdir()
        with pytest.raises(IsADirectoryError):
            rundir.evidence(str(tmp_path))


def test_a_file_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    target, torn, stop = tmp_path / "job.id", [], threading.Event()
    sizes = {0, 100_000, 200_000}

    def read() -> None:
        while not stop.is_set():
            size = len(rundir.read_text(str(target)))
            if size not in sizes:
                torn.append(size)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        rundir.write_whole(str(target), b"x" * (100_000 * (1 + number % 2)))
    stop.set()
    reader.join()
    assert torn == []
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(IsADirectoryError):
        rundir.write_whole(str(tmp_path / "target"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
