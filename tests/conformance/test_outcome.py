"""How a payload ended, and that nobody says otherwise."""

from __future__ import annotations

import signal

import pytest

from tests.conformance.driver import Rig


def test_a_payload_that_succeeds(rig: Rig) -> None:
    played = rig.run("echo out; echo err >&2; echo '{}' >>$MESSAGES")
    assert (played.cause, played.verdict.code) == ("success", 0)
    assert played.verdict.evidence == "the job's own record"
    assert (played.heard.stdout, played.heard.stderr, played.heard.said) == (b"out\n", b"err\n", {0: b"{}\n"})
    assert played.heard.kinds() == ["Began", "Ended"]
    assert played.tracked.record.usage is not None


@pytest.mark.parametrize("code", [3, 255])
def test_a_payload_that_fails(rig: Rig, code: int) -> None:
    played = rig.run(f"echo out; exit {code}")
    assert (played.cause, played.verdict.code, played.verdict.signal) == ("exit_code", code, 0)
    assert played.heard.stdout == b"out\n"


@pytest.mark.parametrize("metered", [True, False])
def test_a_payload_that_is_killed_by_a_signal(rig: Rig, metered: bool) -> None:
    played = rig.run("kill -SEGV $$", metered=metered)
    assert (played.cause, played.verdict.signal) == ("signal", signal.SIGSEGV)
