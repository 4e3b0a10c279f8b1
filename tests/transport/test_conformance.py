"""What every transport must do; each behaviour once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dagster_slurm.errors import AgentUnavailable, CannotConnect
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport
from dagster_slurm.transport.stream import Transport

from .accounts import NOISE, PREFIX, Account
from .peer import Peer
from .sshd import Sshd
from .wait import until

Servers = Callable[..., Sshd]


@dataclass(frozen=True)
class Place:
    transport: LocalTransport | SSHTransport
    #: whose processes run there; None for our own children
    account: Account | None = None
    banner: bytes = b""

    def agents(self) -> list[psutil.Process]:
        if self.account is not None:
            return self.account.processes("=dagster-slurm=")
        return children()


class Places:
    """The places to test, each made once."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.made: dict[str, Place] = {}

    def get(self, kind: str) -> Place:
        if kind not in self.made:
            self.made[kind] = getattr(self, kind)()
        return self.made[kind]

    def local(self) -> Place:
        return Place(LocalTransport())

    def _ssh(self, server: Sshd, banner: bytes = NOISE.encode(), **changes: object) -> Place:
        return Place(SSHTransport(server.settings(**changes)), server.account, banner)

    def ssh(self) -> Place:
        return self._ssh(self.servers())

    def tty(self) -> Place:
        return self._ssh(self.servers(), force_tty=True)

    def banner(self) -> Place:
        return self._ssh(self.servers(banner=True))

    def csh(self) -> Place:
        return self._ssh(self.servers("csh"))

    def fish(self) -> Place:
        return self._ssh(self.servers("fish"), b"")  # its greeting goes to nobody

    def password(self) -> Place:
        return self._ssh(self.servers("bash", "password"))

    def prompt(self) -> Place:
        return self._ssh(self.servers("bash", "prompt"))

    def before(self) -> Place:
        return self._ssh(self.servers(), post_login_command="echo $((40+2)) of 'them';", banner=b"42 of them")

    def login_shell(self) -> Place:
        return self._ssh(self.servers(), post_login_command="bash -lc {cmd}")

    def inner(self) -> Place:
        """From the login node on to another host, by a key that lies there."""
        outer, inner = self.servers(), self.servers("csh")
        key = outer.account.give("inner key", (inner.folder / "id").read_bytes())
        lines = inner.config("inner").replace(f"{inner.folder}/id", f'"{key}"')
        config = outer.account.give("inner.conf", lines.encode())
        return self._ssh(outer, post_login_command=f"ssh -F {config} inner {{cmd}}")

    def jump(self) -> Place:
        jump, target = self.servers(), self.servers("fish")
        config = self.folder / "jump.conf"
        config.write_text(jump.config("jump") + target.config("target"))
        settings = SSHSettings(host="target", jump_host="jump", config_file=str(config))
        return Place(SSHTransport(settings), target.account)


KINDS = "local ssh tty banner csh fish password prompt before login_shell inner jump".split()


@pytest.fixture(scope="module")
def places(base: Path, request: pytest.FixtureRequest) -> Places:
    def servers(*args: Any, **options: Any) -> Sshd:
        """Ask for servers only where one is needed: this machine alone needs no root."""
        return request.getfixturevalue("shared_sshd")(*args, **options)

    return Places(servers, base)


@pytest.fixture(params=[pytest.param(k, marks=[] if k == "local" else pytest.mark.cluster) for k in KINDS])
def place(request: pytest.FixtureRequest, places: Places) -> Place:
    return places.get(request.param)


@pytest.fixture
def peer(place: Place) -> Iterator[Peer]:
    with closing(place.transport.open()) as stream:
        yield Peer(stream)


@pytest.fixture(scope="module", autouse=True)
def earlier() -> Iterator[None]:
    """Channels that the tests of other modules opened in this process stay as long as it does."""
    EARLIER.update(children())
    yield
    EARLIER.clear()


EARLIER: set[psutil.Process] = set()


def children() -> list[psutil.Process]:
    """This module's child processes but for sshd: a stream has one. (The shared connection is nobody's child.)"""
    ours = psutil.Process().children()
    return [child for child in ours if child not in EARLIER and not child.name().startswith(PREFIX)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _descriptors() -> int:
    return psutil.Process().num_fds()


def test_runs_the_program_it_is_sent(place: Place, peer: Peer) -> None:
    assert place.banner in peer.banner
    assert peer.echo(b"hello\n") == b"hello\n"


def test_carries_every_byte(peer: Peer) -> None:
    data = bytes(range(256)) * 40  # also those that a terminal takes for its own
    assert peer.echo(data) == data


def test_carries_20_megabytes_each_way(peer: Peer) -> None:
    data = os.urandom(1 << 20) * 20
    assert peer.echo(data) == data


def test_is_a_transport(place: Place) -> None:
    transport: Transport = place.transport
    assert transport.name
    assert transport.key


def test_close_ends_the_other_side(place: Place) -> None:
    before = len(place.agents())
    peer = Peer(place.transport.open())
    assert len(place.agents()) > before
    peer.stream.close()
    assert children() == []
    until(lambda: len(place.agents()) == before, seconds=20)


def test_close_while_another_thread_reads(peer: Peer) -> None:
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(os.read(peer.stream.read_fd(), 100)))
    reader.start()
    time.sleep(0.02)
    closers = [threading.Thread(target=peer.stream.close) for _ in range(3)]
    for thread in closers:
        thread.start()
    for thread in [*closers, reader]:
        thread.join(10)
    assert got == [b""]
    assert children() == []


def test_after_close_descriptors_are_dead_but_nobody_elses(peer: Peer) -> None:
    peer.stream.close()
    with Path(os.devnull).open("rb") as other:  # gets no number of ours
        assert other.fileno() not in (peer.stream.read_fd(), peer.stream.write_fd())
    assert os.read(peer.stream.read_fd(), 10) == b""
    with pytest.raises(BrokenPipeError):
        os.write(peer.stream.write_fd(), b"x")


def test_a_program_that_ends_gives_end_of_file_and_a_reason(place: Place) -> None:
    stream = place.transport.open()
    peer = Peer(stream, exit=3, complaint="no more memory for you")
    rest = peer.read_all()
    error = stream.failure()
    stream.close()
    assert isinstance(error, AgentUnavailable)
    assert place.transport.name in error.message
    assert error.exit_code == 3
    assert "no more memory for you" in (rest.decode() if stream.tty else error.log_tail or "")


def test_a_program_that_is_killed_gives_end_of_file_and_a_reason(place: Place) -> None:
    before = {process.pid for process in place.agents()}
    stream = place.transport.open()
    peer = Peer(stream)
    for process in place.agents():
        if process.pid not in before:
            process.kill()
    assert peer.read_all() == b""
    assert isinstance(stream.failure(), CannotConnect | AgentUnavailable)
    stream.close()


def test_opening_many_times_leaves_nothing(place: Place) -> None:
    Peer(place.transport.open()).stream.close()
    before = _descriptors()
    for _ in range(3):
        place.transport.open().close()
    assert _descriptors() == before
    assert children() == []


def test_nothing_survives_the_process_that_opened_it(place: Place) -> None:
    if isinstance(place.transport, LocalTransport):
        how = "LocalTransport()"
    else:
        how = f"SSHTransport(SSHSettings(**{asdict(place.transport.settings)!r}))"
    code = (
        "import time\nfrom dagster_slurm.transport.local import LocalTransport\n"
        "from dagster_slurm.transport.ssh import SSHSettings, SSHTransport\n"
        f"stream = {how}.open()\nprint('open', flush=True)\ntime.sleep(60)"
    )
    before = len(place.agents())
    argv = [sys.executable, "-c", code]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"open\n"
    family = psutil.Process(child.pid).children(recursive=True)
    assert family
    child.kill()
    child.wait()
    until(lambda: not any(map(lives, family)), seconds=20)
    until(lambda: len(place.agents()) <= before, seconds=20)
