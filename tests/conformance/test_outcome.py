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


@pytest.mark.parametrize("line", ["false", "module load nothing", "cd /nowhere", "missing_command -x 'a \"b\" \\\\'"])
def test_a_prelude_that_fails_is_named(rig: Rig, line: str) -> None:
    played = rig.run("echo never", prelude=("export SET=1", line, "echo neither"))
    assert (played.cause, played.heard.stdout) == ("exit_code", b"")
    ended = played.verdict.exit
    assert ended is not None
    assert ended.phase == "prelude"
    assert line in ended.text
    assert line in played.heard.stderr.decode()


def test_a_prelude_that_leaves(rig: Rig) -> None:
    played = rig.run("echo never", prelude=("exit 0",))
    assert (played.cause, played.heard.stdout) == ("exit_code", b"")
    assert played.verdict.exit is not None
    assert played.verdict.exit.phase == "prelude"


def test_what_a_prelude_sets_reaches_the_payload(rig: Rig) -> None:
    """And a folder that it enters is left again; what is allowed to fail may fail."""
    prelude = (
        "export SET='a b'",
        "cd /",
        "umask 077",
        "false || true",
        "if false; then false; fi",
        "FUNCTION() { :; }",
    )
    played = rig.run("echo $SET; pwd", prelude=prelude)
    assert played.heard.stdout.decode() == f"a b\n{played.directory}/work\n"


@pytest.mark.parametrize(("command", "code"), [(("/nowhere/at all",), 127), (("/etc/passwd",), 126)])
@pytest.mark.parametrize("metered", [True, False])
def test_a_program_that_cannot_be_started(rig: Rig, command: tuple[str, ...], code: int, metered: bool) -> None:
    played = rig.run(*command, "argument", metered=metered)
    assert (played.cause, played.verdict.code) == ("exit_code", code)
    assert command[0] in played.heard.stderr.decode()
