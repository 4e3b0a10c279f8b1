"""The private folder, the lock, and what is remembered."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_slurm.errors import CannotAuthenticate, CannotConnect, ConfigurationError
from dagster_slurm.transport.ssh import SSHSettings, askpass, folder, refusals
from dagster_slurm.transport.ssh.refusals import MEMORY, Refusal


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that leaves room for a socket's."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def chosen(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(folder.FOLDER_VARIABLE, str(short / "run"))
    return short / "run"


def test_it_is_made_for_us_alone(chosen: Path) -> None:
    old = os.umask(0)
    try:
        assert folder.private_folder() == chosen
    finally:
        os.umask(old)
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert folder.private_folder() == chosen


def test_a_link_is_not_followed(chosen: Path, short: Path) -> None:
    (short / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(short / "elsewhere")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        folder.private_folder()


def test_one_that_others_can_enter_is_refused(chosen: Path) -> None:
    chosen.mkdir()
    chosen.chmod(0o750)
    with pytest.raises(ConfigurationError, match="open to others"):
        folder.private_folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_one_that_belongs_to_somebody_else_is_refused(chosen: Path) -> None:
    chosen.mkdir(mode=0o700)
    os.chown(chosen, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        folder.private_folder()


def test_one_with_a_long_path_is_refused(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(folder.FOLDER_VARIABLE, str(short / ("x" * 80)))
    with pytest.raises(ConfigurationError, match="too long"):
        folder.private_folder()


def test_its_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(folder.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    assert folder.private_folder() == Path(f"/tmp/dagster-slurm-{os.getuid()}")


HOLD = """
import sys, time
from pathlib import Path
from dagster_slurm.transport.ssh.folder import only_one
with only_one(Path(sys.argv[1]), timeout=1, unless=lambda: False) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        with folder.only_one(lock, timeout=1, unless=lambda: True) as ours:
            assert ours is False
        with (
            pytest.raises(CannotConnect, match="Another process"),
            folder.only_one(lock, timeout=0.1, unless=lambda: False),
        ):
            pass
        other.kill()
    with folder.only_one(lock, timeout=1, unless=lambda: False) as ours:
        assert ours is True


def test_who_listens(short: Path) -> None:
    path = str(short / "socket")
    assert not folder.is_socket(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert folder.is_socket(path)
        assert not folder.accepts(path)
        server.listen()
        assert folder.accepts(path)
    assert folder.is_socket(path)
    assert not folder.accepts(path)


# -- refusals

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("kind", "age", "begun", "ours", "holds"),
    [
        ("CannotAuthenticate", 0, 0, False, True),
        ("CannotAuthenticate", MEMORY - 1, 0, False, True),
        ("CannotAuthenticate", MEMORY + 1, 0, False, False),
        ("CannotAuthenticate", MEMORY + 1, 0, True, True),  # a step that waits for days
        ("CannotAuthenticate", -100, 0, False, False),  # the clock was set back
        ("CannotConnect", 1, 2, False, True),  # while we queued for the lock
        ("CannotConnect", 2, 1, False, False),
        ("CannotConnect", 2, 1, True, False),
        ("HostKeyUnknown", 2, 1, False, False),
    ],
)
def test_how_long_a_refusal_holds(kind: str, age: float, begun: float, ours: bool, holds: bool) -> None:
    refusal = Refusal(kind, NOW - age, "f", "s", "No.", "", "", 255, passing=True, settings={})
    assert refusal.holds(NOW, "f", NOW - begun, ours=ours) is holds
    assert refusal.holds(NOW, "other", NOW - begun, ours=ours) is False


def test_it_says_when(tmp_path: Path) -> None:
    refusal = Refusal(
        "CannotAuthenticate", NOW - 60, "f", "s", "h refuses the login.", "hint", "tail", 255, passing=True, settings={}
    )
    error = refusal.error(NOW)
    assert isinstance(error, CannotAuthenticate)
    assert str(error).startswith("h refuses the login (not tried again: this was 60 s ago).")


def test_a_corrected_password_is_another_attempt() -> None:
    assert refusals.fingerprint("d", "one", "salt") == refusals.fingerprint("d", "one", "salt")
    assert refusals.fingerprint("d", "one", "salt") != refusals.fingerprint("d", "two", "salt")
    assert refusals.fingerprint("d", "one", "salt") != refusals.fingerprint("d", None, "salt")
    assert len(refusals.fingerprint("d" * 32, "one", "salt")) == 32 + 1 + 4  # 16 bits say little about it


def test_remembered_across_processes_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.refused"
    settings = SSHSettings("h", user="u", password="p", extra_opts=("-v",))
    since = time.time()
    refusals.remember(path, CannotAuthenticate("no"), "d", settings)
    with pytest.raises(CannotAuthenticate):
        refusals.check(path, "d", "p", since)
    monkeypatch.setattr(refusals, "_seen", {})  # as another process
    with pytest.raises(CannotAuthenticate):
        refusals.check(path, "d", "p", since)
    refusals.check(path, "d", "q", since)
    refusals.check(path, "e", "p", since)
    assert refusals.tried(tmp_path, "h") == SSHSettings("h", user="u", extra_opts=("-v",))
    refusals.forget(path)
    refusals.check(path, "d", "p", since)
    assert refusals.tried(tmp_path, "h") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": 1}', "\0"])
def test_a_damaged_file_is_no_refusal(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.refused"
    path.write_text(text)
    refusals.check(path, "d", None, 0)
    assert refusals.tried(tmp_path, "h") is None


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.refused"
    refusals.remember(path, CannotAuthenticate("no"), "d", SSHSettings("h"))
    with pytest.raises(CannotAuthenticate):
        refusals.check(path, "d", None, time.time())


# -- the helper that asks


def ask(environment: dict[str, str], question: str) -> subprocess.CompletedProcess[str]:
    argv = [environment["SSH_ASKPASS"], question]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=10)


def test_the_helper_asks_us(short: Path) -> None:
    secret = "corréct 'horse\" $battery"
    asked = askpass.Asked(secret, "bob", ["h"])
    with askpass.answering(asked, short) as environment:
        assert secret not in environment.values()
        assert ask(environment, "Enter passphrase for key 'k': ").returncode == 1
        assert ask(environment, "bob@h's password: ").stdout == secret + "\n"
        assert not asked.over.is_set()
        waiting = threading.Thread(target=ask, args=(environment, "Verification code: "))
        waiting.start()
        assert asked.over.wait(5)
        assert waiting.is_alive()  # no answer, not even an empty one
    waiting.join(5)
    assert (asked.verdict, asked.question) == (askpass.Reply.HUMAN, "Verification code: ")
    assert ask(environment, "bob@h's password: ").returncode != 0
    assert list(short.iterdir()) == []


def test_a_helper_that_lost_its_mode_is_copied(tmp_path: Path) -> None:
    installed = tmp_path / "installed.sh"
    shutil.copyfile(askpass.SCRIPT, installed)
    installed.chmod(0o644)
    for _ in range(2):
        copy = askpass.helper(tmp_path, installed)
        assert copy.read_bytes() == installed.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o700
