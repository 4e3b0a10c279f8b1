"""A child process as a stream, when the child does not do as it should."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import psutil
import pytest

from dagster_slurm.errors import AgentUnavailable, ConfigurationError, HostError
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.process import Beginning, ProcessStream
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport

from .test_conformance import lives
from .wait import until

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(100)"


def explain(code: int | None, text: str) -> HostError:
    return AgentUnavailable(text, exit_code=code)


def start(code: str, *, grace: float = 0.1) -> ProcessStream:
    return ProcessStream([sys.executable, "-c", code], explain=explain, grace=grace)


def child_of(stream: ProcessStream) -> psutil.Process:
    return psutil.Process(stream._process.pid)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_slurm.transport.process._TERM_GRACE", 0.1)


def test_one_that_does_not_end_is_ended() -> None:
    stream = start(STUBBORN)
    assert stream.beginning(10) is Beginning.OUTPUT
    child = child_of(stream)
    stream.close()
    assert stream._process.returncode == -signal.SIGKILL
    assert not child.is_running()


def test_one_that_reads_nothing_lets_go_of_who_writes() -> None:
    stream = start(STUBBORN)
    stream.beginning(10)
    problems: list[OSError] = []

    def write() -> None:
        try:
            while True:
                os.write(stream.write_fd(), b"x" * 65536)
        except OSError as error:
            problems.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)
    stream.close()
    writer.join(5)
    assert [type(problem) for problem in problems] == [BrokenPipeError]


def test_one_that_closes_its_output_and_stays() -> None:
    with closing(start("import os, time; os.write(2, b'odd'); os.close(1); time.sleep(100)")) as stream:
        assert stream.beginning(10) is Beginning.END
        error = stream.failure()
        assert (error.message, error.exit_code) == ("odd", -signal.SIGTERM)


def test_one_that_says_nothing() -> None:
    with closing(start("input()")) as stream:
        assert stream.beginning(0.05) is Beginning.SILENCE


def test_nothing_of_the_first_output_is_lost() -> None:
    with closing(start("import os; os.write(1, b'hello\\n'); input()")) as stream:
        assert stream.beginning(10) is Beginning.OUTPUT
        assert os.read(stream.read_fd(), 100) == b"hello\n"


def test_only_the_end_of_much_complaint_is_kept() -> None:
    with closing(start("import os; os.write(2, b'x' * 3_000_000 + b' the end'); os.close(1)", grace=5)) as stream:
        assert stream.beginning(10) is Beginning.END
        error = stream.failure()
    assert error.message.endswith("x the end")
    assert len(error.message) == 16_384


def test_a_close_that_is_interrupted_still_ends_it() -> None:
    stream = start(STUBBORN, grace=30)
    stream.beginning(10)
    child = child_of(stream)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            stream.close()
    finally:
        signal.signal(signal.SIGALRM, old)
    assert not child.is_running()


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_is_forgotten_ends() -> None:
    gc.collect()
    before = psutil.Process().num_fds()
    stream = start("input()")
    child = child_of(stream)
    del stream
    gc.collect()
    until(lambda: not lives(child))
    assert psutil.Process().num_fds() == before


def test_it_has_a_session_of_its_own() -> None:
    with closing(start("input()")) as stream:
        assert os.getsid(child_of(stream).pid) != os.getsid(0)


@pytest.mark.parametrize("opened", [LocalTransport("/no/such/python").open, LocalTransport(os.devnull).open])
def test_no_interpreter(opened: Callable[[], ProcessStream]) -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(AgentUnavailable, match="Cannot start"):
        opened()
    assert psutil.Process().num_fds() == before


def test_no_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="no ssh on this machine"):
        SSHTransport(SSHSettings("h")).open()
