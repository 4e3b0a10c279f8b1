"""A connection that says nothing any more, and does not end."""

from __future__ import annotations

import threading

import pytest

from dagster_slurm.engine import host as hosts
from dagster_slurm.engine.host import Host
from tests.conformance.driver import UNTIL_GO, Rig, until
from tests.conformance.taps import Head, Tap, Tapped


class Silence(Tap):
    """From the first frame of a kind on, nothing comes back over this connection; the next one is well."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._fallen = threading.Event()
        self._streams = 0

    def begin(self) -> None:
        self._streams += 1
        self._fallen.clear()

    def after_up(self, head: Head) -> None:
        if head["op"] == self._operation and self._streams == 1:
            self._fallen.set()

    def down(self, _head: Head, data: bytes) -> bytes:
        return b"" if self._fallen.is_set() else data


@pytest.mark.parametrize("operation", ["hello", "submit", "watch"])
def test_a_silent_connection_is_replaced(rig: Rig, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_SILENCE", 2.5)
    host = Host(Tapped(rig.transport(), Silence(operation)), rig.scheduler, rig.turns and rig.turns())
    try:
        host.hello("~")
        play = rig.begin(f"echo out; {UNTIL_GO}; echo 1 >>$SHARED/ran", host=host)
        play.until(lambda: play.heard.stdout == b"out\n")
        play.go()
        assert play.result().cause == "success"
        assert (rig.shared / "ran").read_text() == "1\n"
    finally:
        host.close()


def test_a_host_that_nobody_needs_has_no_threads(rig: Rig) -> None:
    before = ours()
    host = rig.another_host()
    assert rig.begin("true", host=host).result().cause == "success"
    its = ours() - before
    assert its
    rig.leave(host)
    host.close()
    until(lambda: not ours() & its)  # not: nobody's; other tests' runs wait at the same time


def ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(("dagster-slurm", "keeper"))}


def test_an_answer_that_is_not_waited_for_any_longer(rig: Rig) -> None:
    host = Host(Tapped(rig.transport(), Silence("hello")), rig.scheduler, rig.turns and rig.turns())
    try:
        with pytest.raises(hosts.CannotConnect, match="in time"):
            host.request("hello", expand=[], within=1.0)
    finally:
        host.close()
