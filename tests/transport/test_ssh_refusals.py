"""What ssh says no to, and that nobody asks twice."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dagster_slurm.errors import (
    AgentUnavailable,
    CannotAuthenticate,
    CannotConnect,
    ConfigurationError,
    HostError,
    HostKeyUnknown,
)
from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.process import Beginning
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport, counts, settings_for

from .sshd import Sshd, make_key
from .test_ssh_connection import in_processes
from .wait import until

pytestmark = pytest.mark.cluster
Servers = Callable[..., Sshd]


@pytest.fixture
def wrong_key(tmp_path: Path) -> str:
    make_key(tmp_path / "wrong")
    return str(tmp_path / "wrong")


def refused(settings: SSHSettings, kind: type[HostError] = CannotAuthenticate) -> str:
    with pytest.raises(kind) as caught:
        start(settings)
    return str(caught.value)


def start(settings: SSHSettings) -> None:
    """Start the bootstrap, as the engine does: a login shell may talk before it fails."""
    with closing(SSHTransport(settings).open()) as stream:
        while stream.beginning(5) is not Beginning.END:
            if bootstrap.SENTINEL in os.read(stream.read_fd(), 1000):
                return
        raise stream.failure()


def test_a_wrong_key_is_tried_once(sshd: Servers, wrong_key: str) -> None:
    server = sshd()
    settings = server.settings(key_path=wrong_key)
    text = refused(settings)
    assert "refuses the login" in text
    assert "`dagster-slurm login 127.0.0.1`" in text
    assert "Permission denied" in text
    refused(settings)
    assert server.connections() == counts.logins == 1


def test_eight_workers_do_not_make_eight_refusals(sshd: Servers, wrong_key: str) -> None:
    server = sshd()
    settings = server.settings(key_path=wrong_key)
    said = in_processes(settings, 8)
    assert sorted(said) == ["CannotAuthenticate 0"] * 7 + ["CannotAuthenticate 1"]
    assert in_processes(settings, 1) == ["CannotAuthenticate 0"]
    assert server.connections() == 1


def test_other_settings_are_tried(sshd: Servers, wrong_key: str) -> None:
    server = sshd()
    refused(server.settings(key_path=wrong_key))
    SSHTransport(server.settings()).open().close()
    # ... and once somebody is logged in, the refusal is no more.
    SSHTransport(server.settings(key_path=wrong_key)).open().close()


def test_a_mended_ssh_config_is_tried(sshd: Servers, wrong_key: str, tmp_path: Path) -> None:
    server = sshd()
    config = tmp_path / "config"
    right = server.config("cluster")
    config.write_text(right.replace(f"{server.folder}/id", wrong_key))
    settings = SSHSettings(host="cluster", config_file=str(config))
    refused(settings)
    config.write_text(right)
    SSHTransport(settings).open().close()


def test_how_it_was_tried_is_known_to_login_but_not_the_password(sshd: Servers, runtime: Path) -> None:
    server = sshd("password")
    settings = server.settings(password="not the right 1")
    refused(settings)
    again = settings_for("127.0.0.1")
    assert (again.user, again.port, again.password) == (settings.user, settings.port, None)
    assert settings_for("unheard.of") == SSHSettings(host="unheard.of")
    for file in runtime.iterdir():
        if file.is_file():
            assert b"not the right" not in file.read_bytes()
            assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("auth", ["password", "prompt", "both"])
def test_a_wrong_password_is_given_once(sshd: Servers, auth: str) -> None:
    server = sshd(auth)
    settings = server.settings(password="wrong")
    assert "refuses the login" in refused(settings)
    refused(settings)
    assert server.refusals() == 1
    assert server.connections() == 1
    SSHTransport(server.settings()).open().close()


def test_a_password_does_not_go_where_it_is_not_wanted(sshd: Servers) -> None:
    server = sshd("key")
    refused(server.settings(key_path=None, password="correct"))
    assert server.refusals() == 0


def test_no_password_no_key(sshd: Servers) -> None:
    server = sshd("both")
    refused(server.settings(password=None))
    assert server.refusals() == 0


def test_an_unknown_host_key(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    known_hosts = tmp_path / "known_hosts"
    known_hosts.touch()
    text = refused(server.settings(known_hosts_file=str(known_hosts)), HostKeyUnknown)
    assert f"The key of [127.0.0.1]:{server.port} is not in known_hosts" in text
    assert f"`ssh-keyscan -p {server.port} 127.0.0.1 >> {known_hosts}`" in text
    # The advice works.
    keys = subprocess.run(
        ["ssh-keyscan", "-p", str(server.port), "127.0.0.1"], capture_output=True, text=True, check=True
    ).stdout
    known_hosts.write_text(keys)
    SSHTransport(server.settings(known_hosts_file=str(known_hosts))).open().close()


def test_a_changed_host_key(sshd: Servers, tmp_path: Path) -> None:
    server, other = sshd(), sshd()
    known_hosts = tmp_path / "known_hosts"
    line = f"[127.0.0.1]:{server.port} {(other.folder / 'host.pub').read_text()}"
    known_hosts.write_text(line)
    for strict in (True, False):
        settings = server.settings(known_hosts_file=str(known_hosts), host_key_checking=strict)
        text = refused(settings, HostKeyUnknown)
        assert f"[127.0.0.1]:{server.port} shows another key" in text
        assert f"`ssh-keygen -R '[127.0.0.1]:{server.port}' -f {known_hosts}`" in text
    assert known_hosts.read_text() == line
    assert server.logins() == 0


def test_without_strict_checking_a_key_never_seen_is_taken_down(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    known_hosts = tmp_path / "known_hosts"
    SSHTransport(server.settings(known_hosts_file=str(known_hosts), host_key_checking=False)).open().close()
    assert f"[127.0.0.1]:{server.port}" in known_hosts.read_text()


def test_nobody_there(sshd: Servers) -> None:
    server = sshd()
    server.stop()
    assert f"127.0.0.1 does not answer at port {server.port}" in refused(server.settings(), CannotConnect)
    text = refused(server.settings(host="no-such-host.invalid"), CannotConnect)
    assert "There is no host 'no-such-host.invalid'" in text


def test_a_host_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = SSHSettings("127.0.0.1", port=silent.getsockname()[1], config_file="/dev/null", connect_timeout=1)
        began = time.monotonic()
        assert "does not answer" in refused(settings, CannotConnect)
        assert time.monotonic() - began < SSHSettings("x").connect_timeout


def test_a_host_that_takes_no_more_connections(sshd: Servers) -> None:
    server = sshd("key", "MaxStartups 1:100:1")
    until(lambda: "Connection closed by" in server.log())  # our own look at whether it answers
    with socket.create_connection(("127.0.0.1", server.port)) as waiting:
        assert waiting.recv(4) == b"SSH-"
        assert "closed the connection before the login" in refused(server.settings(), CannotConnect)


@pytest.mark.parametrize("shell", ["bash", "csh", "fish"])
@pytest.mark.parametrize("python", ["no-such-python", "~/no such/python"])
def test_no_python(shared_sshd: Servers, shell: str, python: str) -> None:
    text = refused(shared_sshd(shell).settings(remote_python=python), AgentUnavailable)
    assert f"{python} does not start on" in text
    assert "Set remote_python" in text


def test_python_in_the_home_folder(shared_sshd: Servers) -> None:
    server = shared_sshd("csh")
    server.account.give("my tools/py'thon", b'#!/bin/sh\nexec python3 "$@"\n', 0o700)
    SSHTransport(server.settings(remote_python="~/my tools/py'thon")).open().close()


def test_a_command_after_login_that_fails(shared_sshd: Servers) -> None:
    text = refused(shared_sshd().settings(post_login_command="module load python"), AgentUnavailable)
    assert "module: command not found" in text


def test_settings_that_ssh_does_not_accept() -> None:
    with pytest.raises(ConfigurationError, match="Bad configuration option"):
        SSHTransport(SSHSettings("h", extra_opts=("-o", "NoSuchThing=1"), config_file="/dev/null")).open()


class TestJumpHost:
    """The way there: its refusals are told, remembered, and cost one attempt."""

    @pytest.fixture
    def target(self, sshd: Servers) -> Sshd:
        return sshd()

    def settings(self, jump: Sshd, target: Sshd, tmp_path: Path, *more: str) -> SSHSettings:
        config = tmp_path / "config"
        config.write_text(jump.config("jump", *more) + target.config("target"))
        return SSHSettings(host="target", jump_host="jump", config_file=str(config))

    def test_refuses(self, sshd: Servers, target: Sshd, tmp_path: Path) -> None:
        jump = sshd("both")
        settings = self.settings(jump, target, tmp_path)
        assert f"{jump.account.name}@127.0.0.1 refuses the login" in refused(settings)
        refused(settings)
        assert (jump.connections(), jump.refusals(), target.connections()) == (1, 0, 0)

    def test_is_unknown(self, sshd: Servers, target: Sshd, tmp_path: Path) -> None:
        jump = sshd()
        settings = self.settings(jump, target, tmp_path)
        jump.known_hosts.write_text("")
        assert f"The key of [127.0.0.1]:{jump.port} is not in known_hosts" in refused(settings, HostKeyUnknown)

    def test_is_away(self, sshd: Servers, target: Sshd, tmp_path: Path) -> None:
        jump = sshd()
        jump.stop()
        settings = self.settings(jump, target, tmp_path)
        assert f"does not answer at port {jump.port}" in refused(settings, CannotConnect)

    def test_does_not_reach_the_target(self, sshd: Servers, target: Sshd, tmp_path: Path) -> None:
        settings = self.settings(sshd(), target, tmp_path)
        target.stop()
        assert f"does not answer at port {target.port}" in refused(settings, CannotConnect)

    def test_two_without_any_configuration(self, sshd: Servers, target: Sshd) -> None:
        first, second = sshd(), sshd(shell="csh")
        for server in (first, second):
            (server.folder / "authorized_keys").write_bytes((target.folder / "id.pub").read_bytes())
        known = "".join(server.known_hosts.read_text() for server in (first, second, target))
        target.known_hosts.write_text(known)
        hops = ",".join(f"{server.account.name}@127.0.0.1:{server.port}" for server in (first, second))
        with closing(SSHTransport(target.settings(jump_host=hops)).open()):
            assert [server.logins() for server in (first, second, target)] == [1, 1, 1]

    def test_of_the_users_own(self, target: Sshd, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text(target.config("target", "ProxyCommand sh -c 'echo who goes there? >&2; exit 7'"))
        settings = SSHSettings(host="target", config_file=str(config))
        assert "who goes there?" in refused(settings, CannotConnect)
