from __future__ import annotations

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.core.rundirs import METER


def start(record: Path, *command: str) -> subprocess.Popen[bytes]:
    full = [sys.executable, "-I", "-S", str(METER), str(record), "2", *command]
    return subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(record: Path, *command: str) -> tuple[int, dict[str, object]]:
    process = start(record, *command)
    process.communicate(timeout=20)
    lines = record.read_text().splitlines() if record.exists() else []
    assert len(lines) <= 1
    return process.returncode, json.loads(lines[0]) if lines else {}


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_it_ends_as_the_payload_does(tmp_path: Path, code: int) -> None:
    found, line = run(tmp_path / "record", "bash", "-c", f"exit {code}")
    assert found == code
    assert (line["event"], line["restart"], line["signal"]) == ("usage", 2, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_ended_the_payload(tmp_path: Path, number: int) -> None:
    found, line = run(tmp_path / "record", "bash", "-c", f"kill -{int(number)} $$; sleep 9")
    assert found == 128 + number
    assert line["signal"] == number


def test_what_it_used(tmp_path: Path) -> None:
    code = "import time; b = bytearray(80 << 20); t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    _, line = run(tmp_path / "record", sys.executable, "-c", code)
    assert 80 << 10 < int(str(line["peak_kib"])) < 400 << 10
    assert 0.2 <= float(str(line["cpu"])) < 5


@pytest.mark.parametrize(("command", "code", "text"), [("/no/such", 127, b"No such file"), ("/etc", 126, b"denied")])
def test_what_cannot_be_started(tmp_path: Path, command: str, code: int, text: bytes) -> None:
    process = start(tmp_path / "record", command)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert command.encode() in err
    assert text in err


def test_the_payload_has_every_signal_as_it_should_be(tmp_path: Path) -> None:
    """Nothing ignored, nothing blocked: Python ignores PIPE, and we block some for a moment."""
    process = start(tmp_path / "record", "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    out, _ = process.communicate(timeout=20)
    named = (1 << 31) - 1  # glibc's posix_spawn leaves two of its own, 32 and 33, ignored
    assert [int(line.split()[1], 16) & named for line in out.decode().splitlines()] == [0, 0]


def test_signals_are_the_payloads_to_answer(tmp_path: Path) -> None:
    text = "trap 'echo got; exit 7' TERM; echo up; while :; do sleep 0.02; done"
    process = start(tmp_path / "record", "bash", "-c", text)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
        process.send_signal(number)  # to the meter alone
    time.sleep(0.1)
    assert process.poll() is None
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    os.kill(child, signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (7, b"got\n")


@pytest.mark.parametrize("kind", ["before the fork", "after the fork"])
def test_no_signal_is_lost_at_the_fork(tmp_path: Path, kind: str) -> None:
    """One that comes before it reaches the meter alone; one that comes after it reaches both, and is answered once."""
    fork = {
        "before the fork": "os.kill(0, 15); return real()",
        "after the fork": "pid = real(); pid and os.kill(0, 15); return pid",
    }[kind].replace("; return", "\n    return")
    code = (
        f"import os, runpy, sys\nos.setsid()\nreal = os.fork\ndef fork():\n    {fork}\nos.fork = fork\n"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    traps = "trap 'echo got; exit 7' TERM; while :; do sleep 0.02; done"
    command = [sys.executable, "-c", code, str(METER), str(tmp_path / "record"), "0", "bash", "-c", traps]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=False)
    # it came before the payload could set a trap
    assert (done.returncode, done.stdout) == (143, b"")


def test_no_signal_is_lost_between_fork_and_exec(tmp_path: Path) -> None:
    """TERM to the group, at any moment: the meter or the payload dies of it."""
    dice = random.Random(3)
    for number in range(40):
        full = [sys.executable, "-I", "-S", str(METER), str(tmp_path / f"{number}"), "0", "sleep", "30"]
        process = subprocess.Popen(full, start_new_session=True)
        time.sleep(dice.uniform(0.005, 0.05))
        # never kill(1) with a negative id: procps 4.0.2 takes -TERM -123 for "everything"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(20) in (143, -signal.SIGTERM)


def test_what_it_used_over_time(tmp_path: Path) -> None:
    """The payload's children count; the line with samples stands before that with the sum."""
    worker = "b = bytearray(60 << 20); t = time.process_time()\nwhile time.process_time() - t < 2: pass"
    run_it = f"subprocess.run([sys.executable, '-c', 'import time; ' + {worker!r}])"
    code = f"import subprocess, sys, time; {run_it}; time.sleep(2.2)"
    process = start(tmp_path / "record", sys.executable, "-c", code)
    process.communicate(timeout=60)
    samples, usage = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    assert (samples["event"], samples["restart"], usage["event"]) == ("samples", 2, "usage")
    assert len(samples["seconds"]) == len(samples["cpu"]) == len(samples["mib"]) >= 3
    assert samples["seconds"] == sorted(samples["seconds"])
    assert max(samples["mib"]) > 60
    assert samples["cpu"][-1] == pytest.approx(usage["cpu"], rel=0.3, abs=0.3)


def test_there_are_never_many_samples() -> None:
    namespace = runpy.run_path(str(METER))
    samples = namespace["Samples"](os.getpid())
    for _ in range(1000):
        samples.take()
    assert 50 <= len(samples.seconds) < 120
    assert samples.interval == 2.0**15  # each look at 60 more


def test_the_payload_hears_of_its_own_children(tmp_path: Path) -> None:
    """SIGCHLD, which the meter waits for, is not blocked in the payload."""
    code = "import signal, sys; sys.exit(signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    assert run(tmp_path / "record", sys.executable, "-c", code)[0] == 0
