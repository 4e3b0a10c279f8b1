"""Passwords and codes: who gets them, who does not; and the login at a terminal."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import struct
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from dagster_slurm.errors import CannotAuthenticate
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport, counts, logout, settings_for

from .accounts import PASSWORD
from .peer import Peer
from .sshd import OATH, OATH_KEY, Sshd
from .terminal import Terminal
from .test_ssh_connection import masters
from .wait import until

pytestmark = pytest.mark.cluster
needs_codes = pytest.mark.skipif(OATH is None, reason="needs libpam-oath")
Servers = Callable[..., Sshd]


def code(counter: int) -> str:
    """The one-time code of RFC 4226."""
    digest = hmac.new(bytes.fromhex(OATH_KEY), struct.pack(">Q", counter), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


class Onlooker:
    """Looks at every process on the machine, as fast as it can."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seen: set[str] = set()
        self.looked_at: set[str] = set()

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.is_set():
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if process.name() in ("ssh", "sh", "python3", "askpass.sh"):
                        line = " ".join(process.cmdline())
                        self.looked_at.add(line)
                        if self._secret in line + repr(process.environ()):
                            self.seen.add(line)


@pytest.mark.parametrize("auth", ["password", "prompt"])
def test_a_password_is_in_no_argument_environment_or_file(sshd: Servers, runtime: Path, auth: str) -> None:
    server = sshd(auth)
    files: set[str] = set()
    with Onlooker(PASSWORD) as onlooker, closing(SSHTransport(server.settings()).open()) as stream:
        Peer(stream)
        (master,) = masters(server)
        assert PASSWORD not in repr(master.environ())
        files |= {str(path) for path in runtime.iterdir() if path.is_file() and PASSWORD.encode() in path.read_bytes()}
    assert [line for line in onlooker.looked_at if " -N " in line]
    assert onlooker.seen == set()
    assert files == set()
    assert not list(runtime.glob("ask-*"))
    assert server.logins() == 1


@needs_codes
def test_a_password_is_no_one_time_code(sshd: Servers) -> None:
    server = sshd("code")
    settings = server.settings()
    for _ in range(2):
        with pytest.raises(CannotAuthenticate, match="One-time password") as caught:
            SSHTransport(settings).open()
        assert "`dagster-slurm login 127.0.0.1` in a terminal" in str(caught.value)
    assert server.connections() == counts.logins == 1
    assert server.refusals() == 0  # not even an empty code was sent


@needs_codes
def test_a_login_at_a_terminal_serves_those_who_were_refused(sshd: Servers) -> None:
    server = sshd("code")
    transport = SSHTransport(server.settings())
    with pytest.raises(CannotAuthenticate):
        transport.open()
    with Terminal(settings_for("127.0.0.1")) as terminal:  # what the message says to run
        terminal.expect("Password:")
        terminal.type(PASSWORD)
        terminal.expect("One-time password")
        terminal.type(code(0))
        terminal.expect("logged in")
        assert terminal.process.wait(5) == 0
    with closing(transport.open()) as stream:
        assert Peer(stream).echo(b"x") == b"x"
    with closing(SSHTransport(server.settings(password=None)).open()):
        pass
    assert server.logins() == 1
    assert logout(server.settings())


def test_a_host_key_is_shown_and_taken_down_at_a_terminal(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    settings = server.settings(known_hosts_file=str(tmp_path / "known hosts"))
    with Terminal(settings, persist=1) as terminal:
        assert "SHA256:" in terminal.expect("(yes/no/[fingerprint])?")
        terminal.type("yes")
        terminal.expect("logged in")
    assert f"[127.0.0.1]:{server.port}" in (tmp_path / "known hosts").read_text()
    until(lambda: not masters(server), seconds=4)  # persist
    SSHTransport(settings).open().close()


def test_a_terminal_shows_what_ssh_says(sshd: Servers) -> None:
    server = sshd("password")
    settings = server.settings(extra_opts=("-o", "NumberOfPasswordPrompts=1"))
    with Terminal(settings) as terminal:
        terminal.expect("password:")
        terminal.type("wrong")
        terminal.expect("Permission denied")
        terminal.expect("was not opened")
        assert terminal.process.wait(5) == 1
    assert not masters(server)


def test_a_terminal_over_a_jump_host(sshd: Servers, tmp_path: Path) -> None:
    jump, target = sshd("password"), sshd("password", shell="csh")
    config = tmp_path / "config"
    config.write_text(jump.config("jump") + target.config("target"))
    with Terminal(SSHSettings(host="target", jump_host="jump", config_file=str(config))) as terminal:
        terminal.expect(f"{jump.account.name}@127.0.0.1's password:")
        terminal.type(PASSWORD)
        terminal.expect(f"{target.account.name}@127.0.0.1's password:")
        terminal.type(PASSWORD)
        terminal.expect("logged in")
    SSHTransport(SSHSettings(host="target", jump_host="jump", config_file=str(config))).open().close()
    assert (jump.logins(), target.logins()) == (1, 1)


def test_nothing_to_do_at_a_terminal(sshd: Servers) -> None:
    server = sshd()
    with closing(SSHTransport(server.settings()).open()):
        with Terminal(server.settings()) as terminal:
            terminal.expect("logged in")
        assert server.logins() == 1


def test_others_wait_for_the_human(sshd: Servers) -> None:
    """Who comes while somebody is typing neither fails nor logs in besides."""
    server = sshd("password")
    opened: list[bytes] = []

    def work() -> None:
        with closing(SSHTransport(server.settings(password=None)).open()) as stream:
            opened.append(Peer(stream).echo(b"x"))

    with Terminal(server.settings()) as terminal:
        terminal.expect("password:")
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(0.3)
        assert worker.is_alive()
        terminal.type(PASSWORD)
        terminal.expect("logged in")
        worker.join(10)
    assert opened == [b"x"]
    assert server.logins() == server.connections() == 1
