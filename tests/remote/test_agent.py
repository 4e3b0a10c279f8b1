"""The agent as a process: what it answers, and what is left when it ends."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.engine.channel import Channel
from dagster_slurm.errors import HostError
from dagster_slurm.transport.local import LocalTransport


class Client:
    """One channel, and what came over it."""

    def __init__(self) -> None:
        self.frames: list[tuple[dict[str, Any], bytes]] = []
        self.ended: HostError | None = None
        self._came = threading.Condition()
        self._number = 0
        self.channel = Channel(LocalTransport(), {}, self._on_frame, self._on_end)

    def _on_frame(self, head: dict[str, Any], body: bytes) -> None:
        with self._came:
            self.frames.append((head, body))
            self._came.notify_all()

    def _on_end(self, _channel: Channel, error: HostError) -> None:
        with self._came:
            self.ended = error
            self._came.notify_all()

    def ask(self, operation: str, body: bytes = b"", **fields: Any) -> dict[str, Any]:
        """Send a request; return the whole head of its answer."""
        self._number += 1
        number = self._number
        self.channel.send({"id": number, "op": operation, **fields}, body)
        return self.until(lambda head: head.get("re") == number)

    def until(self, wanted: Any, timeout: float = 20) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        with self._came:
            while True:
                for head, _ in self.frames:
                    if wanted(head):
                        return head
                assert self._came.wait(deadline - time.monotonic()), self.frames
                assert self.ended is None, self.ended


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    client = Client()
    yield client
    client.channel.close()


@pytest.mark.parametrize("operation", ["nothing_like_it", "_start", "__init__", "finish", "close", ""])
def test_a_request_that_does_not_exist_is_answered_so(client: Client, operation: str) -> None:
    for _ in range(6):  # more often than there are threads
        answer = client.ask(operation)
        assert answer["error"]["kind"] == "protocol"
    assert client.ask("hello")["ok"]["uid"] == os.getuid()


def test_a_request_that_lacks_something_is_answered_with_the_fault(client: Client) -> None:
    answer = client.ask("inspect")
    assert answer["error"]["kind"] == "internal"
    assert "KeyError" in answer["error"]["text"]
    assert "requests.py" in answer["error"]["trace"]
    assert "ok" in client.ask("hello")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("~/x", "{home}/x"),
        ("relative", "{home}/relative"),
        ("/a/../b", "/b"),
        ("$KNOWN/x", "/known/x"),
        ("${KNOWN}_2/x", "/known_2/x"),
        ("$KNOWN-2", "/known-2"),
        ("$HOME/$KNOWN", "{home}/known"),
        ("$NOBODY_SETS_THIS/x", None),
        ("/with a blank/é", "/with a blank/é"),
        ("/costs/5$", "/costs/5$"),
    ],
)
def test_what_folder_names_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, expected: str | None
) -> None:
    monkeypatch.setenv("KNOWN", "/known")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/sh")
    client = Client()
    try:
        paths = client.ask("hello", expand=[template])["ok"]["paths"]
    finally:
        client.channel.close()
    assert paths == {template: expected and expected.replace("{home}", str(Path.home()))}


def test_tail(client: Client, tmp_path: Path) -> None:
    (tmp_path / "stderr.0").write_bytes(b"0123456789")
    client.ask("tail", dir=str(tmp_path), file="stderr.0", bytes=4)
    assert client.frames[-1] == ({"re": 1, "ok": {"size": 10}}, b"6789")
    assert client.ask("tail", dir=str(tmp_path), file="none", bytes=4)["ok"] == {"size": 0}


def test_it_is_known_to_others_while_it_runs_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    client = Client()
    pid = client.ask("hello")["ok"]["pid"]
    folder = tmp_path / f"dagster-slurm-agents-{os.getuid()}"
    assert [path.name for path in folder.iterdir()] == [f"agent.{pid}"]
    client.channel.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert list(folder.iterdir()) == []


def test_it_removes_what_killed_ones_left_in_the_folder_that_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / f"dagster-slurm-agents-{os.getuid()}"
    folder.mkdir(mode=0o700)
    old = {"queue.json.lock", "queue.json.lock.host.77.ab", "queue.json.77.ab"}
    young = {"queue.json.lock.host.78.cd", "queue.json"}
    for name in old | young:
        (folder / name).write_text("[]")
        os.utime(folder / name, (time.time() - (4000 if name in old else 10),) * 2)
    client = Client()
    pid = client.ask("hello")["ok"]["pid"]
    assert {path.name for path in folder.iterdir()} == {f"agent.{pid}", *young}
    client.channel.close()


def test_a_run_directory_that_cannot_be_made_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    base = str(tmp_path / "file" / "base")
    answer = client.ask("submit", dir=f"{base}/runs/a/b/c.0", base=base, kind="direct", files=[], find=[], submit=[])
    assert (answer["error"]["kind"], answer["error"]["path"]) == ("storage", base)


def test_it_counts_what_it_does(client: Client) -> None:
    counts = client.ask("counts")["ok"]
    assert counts["operations"] == 0
    assert counts["commands"] == {}
    assert counts["cpu"] < 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_dagster_ignores_still_reach_the_jobs_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = signal.signal(number, signal.SIG_IGN)  # as nohup does, or a script's background
    try:
        client = Client()
    finally:
        signal.signal(number, before)
    pid = client.ask("hello")["ok"]["pid"]
    (ignored,) = re.findall(r"^SigIgn:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert not int(ignored, 16) & 1 << number - 1
    client.channel.close()
