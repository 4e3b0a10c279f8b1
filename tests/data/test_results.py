"""The program beside the payload, and job scripts that use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dagster_slurm.core.data import Slot, Wanted, order
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.remote import cleaning, results
from tests.core.rundirs import RunDirectory

PROGRAM = (sys.executable, "-I", "-S", results.__file__)
A = Wanted("", outputs=(Slot(("a",)),))


@dataclass
class Place:
    """A data folder and runs that write there."""

    top: Path
    number: int = 0

    @property
    def root(self) -> Path:
        return self.top / "da ta"

    def run(self, script: str, wanted: Wanted = A, attempt: int | None = None, **more: object) -> RunDirectory:
        self.number += 1
        key = LaunchKey("run", "step", f"call{self.number}" if attempt is None else "call", attempt or 0)
        run = RunDirectory(
            self.top / "base" / "runs" / "r" / "s" / f"run {self.number}", "bash", "-c", script, data=PROGRAM, **more
        )
        (run.path / "data.json").write_text(order(replace(wanted, root=str(self.root)), key))
        return run

    def text(self, name: str) -> str:
        return (self.root / name).read_text()

    def left_over(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name.startswith("@") and any(path.iterdir()))


@pytest.fixture
def data(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_result_is_put_in_place(data: Place) -> None:
    run = data.run('cd "$DAGSTER_SLURM_OUTPUT_DIR"; mkdir sub; printf 12345 >"sub/x y"; ln -s /etc/hosts link')
    assert run.run() == 0
    (output,) = run.record.outputs
    assert (output.path, output.files) == (str(data.root / "a"), 2)
    assert output.size == 5 + len("/etc/hosts")
    assert output.inode == (data.root / "a").stat().st_ino
    assert data.text("a/sub/x y") == "12345"
    assert data.left_over() == []


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$", "kill -TERM $PPID; sleep 0.3; kill -TERM $$"])
def test_what_failed_leaves_the_result_before_it_alone(data: Place, end: str) -> None:
    data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run()
    run = data.run(f'echo new >"$DAGSTER_SLURM_OUTPUT_DIR/f"; echo x >"$DAGSTER_SLURM_OUTPUT_DIR/g"; {end}')
    assert run.run() != 0
    assert data.text("a/f") == "old\n"
    assert not (data.root / "a" / "g").exists()
    assert run.record.outputs == ()


def test_a_payload_that_was_told_to_stop_and_ends_well_is_no_result(data: Place) -> None:
    run = data.run(
        'trap "exit 0" TERM; echo x >"$DAGSTER_SLURM_OUTPUT_DIR/f"; echo ready; while :; do sleep 0.05; done'
    )
    process = run.start()
    run.until_says("ready")
    run.stop(process, signal.SIGTERM)
    assert run.record.outputs == ()
    assert not (data.root / "a").exists()


def test_a_new_result_replaces_the_old_one_whole(data: Place) -> None:
    data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"; echo old >"$DAGSTER_SLURM_OUTPUT_DIR/only old"').run()
    assert data.run('echo new >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run() == 0
    assert [path.name for path in (data.root / "a").iterdir()] == ["f"]
    assert data.text("a/f") == "new\n"
    assert data.left_over() == []


def test_an_empty_output_replaces_nothing(data: Place) -> None:
    data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run()
    run = data.run("true")
    assert run.run() == 0
    (output,) = run.record.outputs
    assert output.files == 0
    assert output.inode
    assert data.text("a/f") == "old\n"


@pytest.mark.parametrize("resume", [False, True])
def test_a_job_that_is_started_again(data: Place, resume: bool) -> None:
    wanted = Wanted("", outputs=A.outputs, resume=resume)
    run = data.run('ls "$DAGSTER_SLURM_OUTPUT_DIR"; echo 1 >"$DAGSTER_SLURM_OUTPUT_DIR/$DAGSTER_SLURM_RESTART"', wanted)
    script = (run.path / "job.sh").read_text()
    # the first start is not to come to its result
    script = script.replace("_ds_publish; fi", '[ "$_ds_restart" = 0 ] || _ds_publish; fi')
    (run.path / "job.sh").write_text(script)
    assert run.run(job="7") == 0
    # as a node that failed leaves it: begun, and not ended
    record = run.path / "record.jsonl"
    record.write_text("".join(line for line in record.read_text().splitlines(True) if '"exit"' not in line))
    (run.path / "env.sh").write_text("")
    assert run.run(job="7", restart=1) == 0
    assert run.text("stdout.1").split() == (["0"] if resume else [])
    assert sorted(path.name for path in (data.root / "a").iterdir()) == (["0", "1"] if resume else ["1"])


@pytest.mark.parametrize("resume", [False, True])
def test_the_next_attempt(data: Place, resume: bool) -> None:
    wanted = Wanted("", outputs=A.outputs, resume=resume)
    assert data.run('echo >"$DAGSTER_SLURM_OUTPUT_DIR/first"; exit 1', wanted, attempt=0).run() == 1
    assert data.run('echo >"$DAGSTER_SLURM_OUTPUT_DIR/second"', wanted, attempt=1).run() == 0
    found = sorted(path.name for path in (data.root / "a").iterdir())
    assert found == (["first", "second"] if resume else ["second"])
    assert data.left_over() == []


def test_a_start_that_only_seemed_lost_puts_nothing_in_place(data: Place) -> None:
    run = data.run('echo >"$DAGSTER_SLURM_OUTPUT_DIR/f"; echo ready; sleep 0.5')
    process = run.start(job="7")
    run.until_says("ready")
    with (run.path / "record.jsonl").open("a") as record:
        record.write('{"event":"start","job":"7","restart":1,"time":1}\n')
    assert process.wait(20) == 74
    assert not (data.root / "a").exists()


def test_killed_between_the_two_steps_of_a_swap(data: Place) -> None:
    data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run()
    (data.root / "@previous").mkdir()
    (data.root / "a").rename(data.root / "@previous" / "a")
    assert data.run("exit 1").run() == 1
    assert data.text("a/f") == "old\n"


def test_a_reader_too_brings_back_what_a_killed_job_moved_aside(data: Place) -> None:
    data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run()
    (data.root / "@previous").mkdir()
    (data.root / "a").rename(data.root / "@previous" / "a")
    reader = data.run("true", Wanted("", outputs=(Slot(("b",)),), inputs=A.outputs))
    assert reader.run() == 0
    assert data.text("a/f") == "old\n"


def test_many_at_once_leave_one_whole_result(data: Place) -> None:
    root = data.root
    root.mkdir()
    (root / "a").mkdir()
    (root / "a" / "f0").write_text("0")

    def replace(number: int) -> None:
        for again in range(20):
            mine = root / f"new {number} {again}"
            mine.mkdir()
            (mine / f"f{number}").write_text(str(number))
            results.swap(str(root), "a", str(mine))

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = (root / "a").iterdir()
    assert file.name == f"f{file.read_text()}"


@pytest.mark.parametrize("first", [Slot(("a",)), Slot(("a",), "p")])
def test_an_asset_with_and_without_partitions_is_not_mixed(data: Place, first: Slot) -> None:
    second = Slot(("a",)) if first.partition else Slot(("a",), "p")
    data.run('echo 1 >"$DAGSTER_SLURM_OUTPUT_DIR/f"', Wanted("", outputs=(first,))).run()
    run = data.run('echo 2 >"$DAGSTER_SLURM_OUTPUT_DIR/f"', Wanted("", outputs=(second,)))
    assert run.run() == 66
    ended = run.record.exit
    assert ended is not None
    assert (ended.phase, "move" in ended.text) == ("result", True)
    assert data.text(f"{first.folder}/f") == "1\n"


def test_partitions_do_not_touch_each_other(data: Place) -> None:
    for name in ("x/y", "x y", "..", "é"):
        wanted = Wanted("", outputs=(Slot(("a",), name),))
        assert data.run(f'echo "{name}" >"$DAGSTER_SLURM_OUTPUT_DIR/f"', wanted).run() == 0
    assert sorted(path.read_text().strip() for path in (data.root / "a").glob("*/f")) == ["..", "x y", "x/y", "é"]


def test_each_asset_its_own(data: Place) -> None:
    wanted = Wanted("", outputs=(Slot(("a",)), Slot(("b", "c"))))
    run = data.run('echo 1 >"$DAGSTER_SLURM_OUTPUT_DIR_A/f"; echo ${DAGSTER_SLURM_OUTPUT_DIR-none}', wanted)
    assert run.run() == 0
    assert run.stdout == "none\n"
    assert [(output.name, output.files) for output in run.record.outputs] == [("a", 1), ("b+c", 0)]
    assert not (data.root / "b+c").exists()


def test_a_missing_input_is_named(data: Place) -> None:
    run = data.run('cat "$DAGSTER_SLURM_INPUT_X/f"', Wanted("", outputs=A.outputs, inputs=(Slot(("x",), "1"),)))
    assert run.run() == 1
    assert f"nothing lies at {data.root}/x/1 (x, partition '1')" in run.text("stderr.0")


def test_a_data_folder_that_cannot_be_made(data: Place) -> None:
    data.root.parent.mkdir(exist_ok=True)
    data.root.write_text("a file")
    run = data.run("echo never")
    assert run.run() == 66
    ended = run.record.exit
    assert ended is not None
    assert ended.phase == "result"
    assert str(data.root) in ended.text
    assert run.stdout == ""


def test_a_node_without_python(data: Place) -> None:
    run = data.run("echo ran")
    text = (run.path / "job.sh").read_text().replace(sys.executable, "/no/such/python")
    (run.path / "job.sh").write_text(text)
    assert run.run() == 66
    assert run.stdout == ""
    ended = run.record.exit
    assert ended is not None
    assert "/no/such/python was not found" in ended.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "da ta"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=30", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("needs root to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_under_the_payload(data: Place, small_disk: Path) -> None:
    assert data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run() == 0
    run = data.run('head -c 1000000 /dev/zero >"$DAGSTER_SLURM_OUTPUT_DIR/f"')
    assert run.run() != 0
    assert data.text("a/f") == "old\n"
    assert "No space left" in run.text("stderr.0")


def test_a_full_disk_before_the_payload(data: Place, small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "all").write_bytes(b"x" * 200_000)
    for number in range(40):  # inodes too
        try:
            (small_disk / f"d{number}").mkdir()
        except OSError:
            break
    run = data.run("echo never")
    assert run.run() == 66
    ended = run.record.exit
    assert ended is not None
    assert "No space left" in ended.text


def test_what_a_failed_run_left_goes_with_its_run_directory(data: Place) -> None:
    data.run('echo old >"$DAGSTER_SLURM_OUTPUT_DIR/f"').run()
    run = data.run('echo >"$DAGSTER_SLURM_OUTPUT_DIR/f"; exit 1')
    run.run()
    assert data.left_over() == ["@partial"]
    for path in [run.path, *run.path.iterdir()]:
        os.utime(path, (1, 1), follow_symlinks=False)
    gone = cleaning.sweep(str(data.top / "base"), {"success": 3600.0, "failure": 3600.0})
    assert gone == [str(run.path)]
    assert data.left_over() == []
    assert data.text("a/f") == "old\n"


def test_a_damaged_order_is_no_reason_to_remove_anything(tmp_path: Path) -> None:
    for text in ("", "{", json.dumps({"root": 1})):
        (tmp_path / "data.json").write_text(text)
        results.forget(str(tmp_path))
