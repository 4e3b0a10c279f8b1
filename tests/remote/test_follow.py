"""The follower with a clock of its own: what it sends, and what it costs. (How late: tests/benchmarks/test_pace.py.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.remote.follow import OPERATIONS_PER_SECOND, Follower

ENOUGH = 1 << 40


class Followed:
    """Run directories, a follower, and a clock that jumps to when the follower wants to wake up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.sent: list[tuple[float, int, str, int, bytes]] = []
        self.follower = Follower(self._send)

    def _send(self, head: dict[str, Any], body: bytes) -> None:
        self.sent.append((self.now, head["run"], head["file"], head["at"], body))

    def watch(self, run: int, *, started: bool = True, credit: int = ENOUGH, **offsets: int) -> Path:
        """Follow a run directory; ``stdout=3``: from that offset on."""
        directory = self.folder / str(run)
        directory.mkdir(exist_ok=True)
        if started:
            self.append(run, "record.jsonl", '{"event":"start","job":"1","restart":0}\n')
        names = {"stdout": "stdout.0", "stderr": "stderr.0", "messages": "messages.0.jsonl"}
        known = {names[name]: offset for name, offset in offsets.items()}
        self.follower.watch(run, str(directory), known, credit, self.now)
        return directory

    def append(self, run: int, file: str, text: str | bytes) -> None:
        with (self.folder / str(run) / file).open("ab") as target:
            target.write(text.encode() if isinstance(text, str) else text)

    def pass_time(self, seconds: float) -> int:
        """Let time pass; return how many operations there were."""
        until, before = self.now + seconds, self.follower.operations
        while True:
            pause = max(self.follower.tick(self.now), 0.001)
            if self.now + pause > until:
                self.now = until
                self.follower.tick(self.now)
                return self.follower.operations - before
            self.now += pause

    def got(self, run: int, file: str) -> bytes:
        """What was sent of a file, checked for gaps."""
        data = b""
        pieces = [(at, body) for _, of, name, at, body in self.sent if (of, name) == (run, file)]
        for at, body in pieces:
            assert at == pieces[0][0] + len(data)
            data += body
        return data


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_all_files_of_a_run_are_sent_in_full(followed: Followed) -> None:
    followed.watch(1)
    for file in ("stdout.0", "stderr.0", "messages.0.jsonl"):
        followed.append(1, file, f"{file} one\n")
    followed.pass_time(2)
    followed.append(1, "stdout.0", b"\xff\x00 two")
    followed.pass_time(2)
    assert followed.got(1, "stdout.0") == b"stdout.0 one\n\xff\x00 two"
    assert followed.got(1, "stderr.0") == b"stderr.0 one\n"
    assert followed.got(1, "messages.0.jsonl") == b"messages.0.jsonl one\n"


def test_from_an_offset_on(followed: Followed) -> None:
    directory = followed.watch(1, stdout=4)
    (directory / "stdout.0").write_text("seennews")
    followed.pass_time(2)
    assert followed.got(1, "stdout.0") == b"news"


def test_the_record_is_read_from_its_beginning_and_names_the_files(followed: Followed) -> None:
    followed.watch(1)
    followed.append(1, "stdout.0", "first")
    followed.pass_time(2)
    followed.append(1, "record.jsonl", '{"event":"start","job":"1","restart":1}\n')
    followed.append(1, "stdout.1", "second")
    followed.pass_time(5)
    assert followed.got(1, "stdout.1") == b"second"
    assert followed.got(1, "record.jsonl").count(b'"start"') == 2


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"start","restart":"x"}',
        '{"event":"exit","restart":0,"sizes":[1]}',
        '{"event":"exit","restart":0,"sizes":{"stdout":"many"}}',
        '{"event":"exit","restart":0,"sizes":{"stdout":1e999}}',
        "[]",
        "null",
        "{",
        "\x00",
        '"start"',
    ],
)
def test_damaged_lines_of_a_record_do_no_harm(followed: Followed, line: str) -> None:
    followed.watch(1)
    followed.append(1, "record.jsonl", line + "\n")
    followed.append(1, "stdout.0", "out")
    followed.pass_time(3)
    assert followed.got(1, "stdout.0") == b"out"
    assert followed.got(1, "record.jsonl").endswith(line.encode() + b"\n")


def test_a_record_that_arrives_in_pieces(followed: Followed) -> None:
    followed.watch(1, started=False)
    for piece in ('{"event":"st', 'art","restart":0}', "\n"):
        followed.append(1, "record.jsonl", piece)
        followed.pass_time(1)
    followed.append(1, "stdout.0", "out")
    followed.pass_time(3)
    assert followed.got(1, "stdout.0") == b"out"


def test_what_an_exit_line_promises_is_read_at_once(followed: Followed) -> None:
    followed.watch(1)
    followed.pass_time(300)
    followed.append(1, "stdout.0", "x" * 100)
    sizes = {"stdout": 200, "stderr": 0, "messages": 0}
    followed.append(1, "record.jsonl", json.dumps({"event": "exit", "restart": 0, "sizes": sizes}) + "\n")
    followed.pass_time(4)
    assert followed.got(1, "stdout.0") == b"x" * 100
    followed.append(1, "stdout.0", "y" * 100)  # an NFS client shows the rest a moment later
    begun = followed.now
    followed.pass_time(1)
    late = [
        moment - begun for moment, _, file, _, body in followed.sent if file == "stdout.0" and body.startswith(b"y")
    ]
    assert late
    assert late[0] <= 0.35


@pytest.mark.parametrize("runs", [1, 10, 100, 500])
def test_the_budget_holds(followed: Followed, runs: int) -> None:
    for run in range(runs):
        followed.watch(run)
        followed.append(run, "stdout.0", "begun\n")
    followed.pass_time(5)
    for second in range(8):
        for run in range(0, runs, 3):
            followed.append(run, "stdout.0", f"{second}\n")
        spent = followed.pass_time(1)
        assert spent <= OPERATIONS_PER_SECOND * 2 + 1, "what was saved up may be spent at once"
    assert followed.pass_time(10) <= OPERATIONS_PER_SECOND * 10 * 1.05


def test_the_share_of_several_agents(followed: Followed) -> None:
    followed.follower.share = 0.25
    for run in range(100):
        followed.watch(run)
    followed.pass_time(10)
    assert followed.pass_time(20) <= OPERATIONS_PER_SECOND * 20 * 0.25 * 1.05 + 1


def test_jobs_that_wait_in_the_queue_cost_hardly_anything(followed: Followed) -> None:
    for run in range(10):
        followed.watch(run, started=False)
    followed.pass_time(1000)
    assert followed.pass_time(300) <= 10 * 300 / 30 * 1.1


def test_nothing_to_follow_costs_nothing(followed: Followed) -> None:
    followed.watch(1)
    followed.pass_time(1)
    followed.follower.unwatch(1)
    followed.pass_time(1)
    assert followed.pass_time(1000) == 0
    assert followed.follower.tick(followed.now) >= 15


def test_the_start_of_a_job_that_waited_is_seen_when_the_queue_says_so(followed: Followed) -> None:
    followed.watch(1, started=False)
    followed.pass_time(3600)
    followed.append(1, "record.jsonl", '{"event":"start","restart":0}\n')
    followed.append(1, "stdout.0", "out")
    followed.follower.poke(1, followed.now)
    followed.pass_time(0.5)
    assert followed.got(1, "stdout.0") == b"out"


class TestCredit:
    def test_no_more_is_sent_than_was_granted(self, followed: Followed) -> None:
        followed.watch(1, credit=1000)
        followed.append(1, "stdout.0", b"x" * 5000)
        followed.pass_time(60)
        assert len(followed.got(1, "stdout.0")) == 1000
        assert followed.pass_time(60) == 0, "who may not send does not look"
        followed.follower.grant(1, 1500, followed.now)
        followed.pass_time(5)
        assert len(followed.got(1, "stdout.0")) == 2500
        followed.follower.grant(1, ENOUGH, followed.now)
        followed.pass_time(5)
        assert len(followed.got(1, "stdout.0")) == 5000

    def test_all_files_of_a_run_share_it(self, followed: Followed) -> None:
        followed.watch(1, credit=1000)
        for file in ("stdout.0", "stderr.0", "messages.0.jsonl"):
            followed.append(1, file, b"x" * 900)
        followed.pass_time(60)
        assert sum(len(body) for _, _, file, _, body in followed.sent if file != "record.jsonl") == 1000

    def test_one_run_does_not_use_up_anothers(self, followed: Followed) -> None:
        followed.watch(1, credit=10)
        followed.watch(2)
        followed.append(1, "stdout.0", b"x" * 5000)
        followed.append(2, "stdout.0", b"y" * 5000)
        followed.pass_time(10)
        assert (len(followed.got(1, "stdout.0")), len(followed.got(2, "stdout.0"))) == (10, 5000)

    def test_a_large_file_comes_in_pieces_that_fit_a_frame(self, followed: Followed) -> None:
        followed.watch(1)
        followed.append(1, "stdout.0", b"x" * (3 << 20))
        followed.pass_time(10)
        assert len(followed.got(1, "stdout.0")) == 3 << 20
        assert max(len(body) for *_, body in followed.sent) <= 256 * 1024

    def test_a_grant_for_a_run_that_is_not_followed(self, followed: Followed) -> None:
        followed.follower.grant(7, 100, 0.0)
        followed.follower.poke(7, 0.0)
        followed.follower.unwatch(7)


def test_files_that_are_not_there_yet_or_no_more(followed: Followed) -> None:
    directory = followed.watch(1)
    followed.pass_time(3)
    followed.append(1, "stdout.0", "out")
    followed.pass_time(3)
    assert followed.got(1, "stdout.0") == b"out"
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    followed.pass_time(30)


def test_watching_again_begins_anew(followed: Followed) -> None:
    followed.watch(1)
    followed.append(1, "stdout.0", "out")
    followed.pass_time(2)
    followed.sent.clear()
    followed.follower.watch(1, str(followed.folder / "1"), {"stdout.0": 3}, ENOUGH, followed.now)
    followed.append(1, "stdout.0", "more")
    followed.pass_time(2)
    assert followed.got(1, "stdout.0") == b"more"
