"""One login, shared; found, lost, exhausted, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from dagster_slurm.errors import CannotConnect, NoSession
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport, counts, logout

from .peer import Peer
from .sshd import Sshd
from .wait import until

pytestmark = pytest.mark.cluster
Servers = Callable[..., Sshd]

OPEN = """
import sys
from dagster_slurm.errors import HostError
from dagster_slurm.transport.ssh import SSHSettings, SSHTransport, counts
try:
    stream = SSHTransport(SSHSettings(**{settings!r})).open()
except HostError as error:
    print(type(error).__name__, counts.logins)
else:
    print("open", counts.logins)
    stream.close()
"""


def script(settings: SSHSettings, code: str = OPEN) -> list[str]:
    return [sys.executable, "-c", code.format(settings=asdict(settings))]


def in_processes(settings: SSHSettings, number: int) -> list[str]:
    """Open in so many processes at once; say what each printed."""
    children = [subprocess.Popen(script(settings), stdout=subprocess.PIPE, text=True) for _ in range(number)]
    return [child.communicate(timeout=60)[0].strip() for child in children]


def test_a_login_then_one_process_for_each_stream(sshd: Servers) -> None:
    server = sshd()
    transport = SSHTransport(server.settings())
    transport.open().close()
    assert (counts.logins, counts.sessions, counts.processes) == (1, 1, 3)  # ssh -G, the connection, the client
    for number in range(2, 4):
        SSHTransport(server.settings()).open().close()
        assert (counts.logins, counts.sessions, counts.processes) == (1, number, 2 + number)
    assert server.logins() == 1


def test_eight_processes_at_once_log_in_once(sshd: Servers) -> None:
    server = sshd()
    said = in_processes(server.settings(), 8)
    assert sorted(said) == ["open 0"] * 7 + ["open 1"]
    assert server.logins() == server.connections() == 1


def test_eight_threads_at_once_log_in_once(sshd: Servers) -> None:
    server = sshd()
    with ThreadPoolExecutor(8) as pool:
        streams = list(pool.map(lambda _: SSHTransport(server.settings()).open(), range(8)))
    for stream in streams:
        stream.close()
    assert server.connections() == 1


def test_different_accounts_do_not_share(sshd: Servers) -> None:
    server, other = sshd(), sshd(shell="csh")
    SSHTransport(server.settings()).open().close()
    SSHTransport(other.settings()).open().close()
    assert (server.logins(), other.logins()) == (1, 1)


def test_an_alias_is_enough(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    config = tmp_path / "my config"
    config.write_text(server.config("cluster", "RemoteCommand false", "RequestTTY yes", "LocalForward 1 localhost:1"))
    with closing(SSHTransport(SSHSettings(host="cluster", config_file=str(config))).open()) as stream:
        assert Peer(stream).echo(b"x") == b"x"


def test_paths_with_blanks_and_percent_signs(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    odd = tmp_path / "50%h of 'my' keys"
    odd.mkdir()
    key = odd / "the key"
    key.write_bytes((server.folder / "id").read_bytes())
    key.chmod(0o600)
    known_hosts = odd / "known hosts"
    known_hosts.write_bytes(server.known_hosts.read_bytes())
    SSHTransport(server.settings(key_path=str(key), known_hosts_file=str(known_hosts))).open().close()
    assert server.logins() == 1


@pytest.mark.parametrize("shell", ["csh", "fish"])
def test_a_terminal_in_other_shells(shared_sshd: Servers, shell: str) -> None:
    transport = SSHTransport(shared_sshd(shell).settings(force_tty=True))
    data = bytes(range(256)) * 10
    with closing(transport.open()) as stream:
        assert Peer(stream).echo(data) == data


def test_the_users_agent_leads_on_if_his_configuration_says_so(sshd: Servers, tmp_path: Path) -> None:
    outer, inner = sshd(), sshd(shell="csh")
    lines = inner.config("inner").replace(f"IdentityFile {inner.folder}/id", "IdentityFile none")
    there = outer.account.give("agent.conf", lines.replace("IdentitiesOnly yes", "").encode())
    config = tmp_path / "config"
    config.write_text(outer.config("outer", "ForwardAgent yes"))
    code = script(
        SSHSettings(host="outer", config_file=str(config), post_login_command=f"ssh -F {there} inner {{cmd}}")
    )
    started = ["ssh-agent", "sh", "-c", 'ssh-add -q "$0" && exec "$@"', str(inner.folder / "id"), *code]
    done = subprocess.run(started, capture_output=True, text=True, check=True, timeout=20)
    assert (done.stdout, inner.logins()) == ("open 1\n", 1)


def _open_by_hand(server: Sshd, tmp_path: Path) -> tuple[SSHSettings, list[str]]:
    config = tmp_path / "config"
    path = server.folder / "of-the-user-%r@%n"
    config.write_text(server.config("mine", "ControlMaster auto", f"ControlPath {path}"))
    ssh = ["ssh", "-F", str(config), "mine"]
    subprocess.run([*ssh[:-1], "-N", "-f", "mine"], check=True, stdin=subprocess.DEVNULL)
    return SSHSettings(host="mine", config_file=str(config)), ssh


def test_a_connection_opened_by_the_user_is_used_and_left_alone(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    settings, ssh = _open_by_hand(server, tmp_path)
    SSHTransport(settings).open().close()
    assert logout(settings) is False
    assert counts.logins == 0
    assert server.logins() == 1
    assert subprocess.run([*ssh, "-O", "check"], check=False, capture_output=True).returncode == 0


def test_what_a_dead_connection_of_the_users_leaves_behind_does_not_matter(sshd: Servers, tmp_path: Path) -> None:
    server = sshd()
    settings, ssh = _open_by_hand(server, tmp_path)
    said = subprocess.run([*ssh, "-O", "check"], check=True, capture_output=True, text=True).stderr
    os.kill(int("".join(filter(str.isdigit, said))), signal.SIGKILL)
    with closing(SSHTransport(settings).open()) as stream:
        assert Peer(stream).echo(b"x") == b"x"
    socket = server.folder / f"of-the-user-{server.account.name}@mine"
    assert socket.is_socket()  # not ours to remove
    assert server.logins() == 2
    SSHTransport(settings).open().close()
    assert counts.logins == 1


def masters(server: Sshd) -> list[psutil.Process]:
    """The shared connections to a server."""
    found = [process for process in psutil.process_iter(["cmdline"]) if "-N" in (process.info["cmdline"] or [])]
    return [process for process in found if str(server.port) in process.info["cmdline"]]


def test_a_lost_connection_is_opened_again(sshd: Servers) -> None:
    server = sshd()
    transport = SSHTransport(server.settings())
    with closing(transport.open()) as stream:
        peer = Peer(stream)
        for master in masters(server):
            master.kill()
        assert peer.read_all() == b""
        error = stream.failure()
    assert isinstance(error, CannotConnect)
    with closing(transport.open()) as stream:
        assert Peer(stream).echo(b"x") == b"x"
    assert counts.logins == server.logins() == 2


def test_a_lost_connection_is_opened_again_once_for_all_processes(sshd: Servers) -> None:
    server = sshd()
    transport = SSHTransport(server.settings())
    transport.open().close()
    for master in masters(server):
        master.kill()
    said = in_processes(server.settings(), 6)
    transport.open().close()
    assert [line.split()[0] for line in said] == ["open"] * 6
    assert server.logins() == 2


def test_a_server_that_was_away(sshd: Servers) -> None:
    server = sshd()
    transport = SSHTransport(server.settings())
    transport.open().close()
    server.stop()
    until(lambda: not masters(server))
    for _ in range(2):
        with pytest.raises(CannotConnect, match="does not answer"):
            transport.open()
    server.start()
    transport.open().close()
    assert server.logins() == 2


def test_a_folder_that_was_cleaned_away(sshd: Servers, runtime: Path) -> None:
    server = sshd()
    transport = SSHTransport(server.settings())
    transport.open().close()
    elsewhere = runtime.rename(runtime.with_name("cleaned"))
    try:
        transport.open().close()
        assert server.logins() == 2
    finally:
        for entry in elsewhere.iterdir():
            entry.unlink()
        elsewhere.rmdir()


def test_no_further_session_is_said_at_once(sshd: Servers) -> None:
    server = sshd("key", "MaxSessions 2")
    transport = SSHTransport(server.settings())
    with ExitStack() as stack:
        first = stack.enter_context(closing(transport.open()))
        stack.enter_context(closing(transport.open()))
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(NoSession, match="no further session"):
                transport.open()
        assert time.monotonic() - began < server.settings().connect_timeout
        first.close()
        stack.enter_context(closing(transport.open()))
    assert server.connections() == counts.logins == 1


def test_more_logins_only_if_allowed(sshd: Servers) -> None:
    server = sshd("key", "MaxSessions 1")
    transport = SSHTransport(server.settings(max_logins=2))
    with closing(transport.open()) as one, closing(transport.open()) as two:
        with pytest.raises(NoSession):
            transport.open()
        assert Peer(one).echo(b"1") == b"1"
        assert Peer(two).echo(b"2") == b"2"
    assert server.connections() == server.logins() == 2
    with closing(transport.open()), closing(transport.open()):
        assert server.connections() == 2


def test_a_further_login_that_fails_means_waiting_for_a_session(sshd: Servers) -> None:
    server = sshd("key", "MaxSessions 1")
    transport = SSHTransport(server.settings(max_logins=2))
    with closing(transport.open()):
        (server.folder / "authorized_keys").write_text("")
        for _ in range(2):
            with pytest.raises(NoSession, match="refuses the login"):
                transport.open()
        assert server.connections() == 2


def test_a_session_ends_with_its_process_for_good(sshd: Servers) -> None:
    """Turns of short sessions: with MaxSessions 1, closing one makes room for the next."""
    server = sshd("key", "MaxSessions 1")
    transport = SSHTransport(server.settings())
    for _ in range(5):
        with closing(transport.open()) as stream:
            assert Peer(stream).echo(b"x") == b"x"
    assert server.connections() == 1


def test_the_shared_connection_holds_nothing_of_the_process_that_opened_it(sshd: Servers) -> None:
    server = sshd()
    done = subprocess.run(script(server.settings()), capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == "open 1\n"  # end of file came though the connection lives on:
    (master,) = masters(server)
    assert master.ppid() != os.getpid()
    pipes = {str(Path(f"/proc/{master.pid}/fd/{number}").readlink()) for number in range(3)}
    assert pipes == {"/dev/null"}
    assert os.getsid(master.pid) != os.getsid(0)


def test_logout_ends_what_we_opened(sshd: Servers) -> None:
    server = sshd()
    SSHTransport(server.settings()).open().close()
    assert logout(server.settings()) is True
    until(lambda: not masters(server))
    assert logout(server.settings()) is False


def test_a_stream_is_out_of_reach_of_ctrl_c(sshd: Servers) -> None:
    earlier = psutil.Process().children()  # of the tests of other modules
    with closing(SSHTransport(sshd().settings()).open()):
        clients = [child for child in psutil.Process().children() if child.name() == "ssh"]
        (client,) = [child for child in clients if child not in earlier]
        assert os.getsid(client.pid) != os.getsid(0)


def test_an_interrupted_login_leaves_nothing(sshd: Servers) -> None:
    settings = sshd().settings(extra_opts=("-o", "ProxyCommand=sleep 98765"))
    with subprocess.Popen(script(settings), stderr=subprocess.DEVNULL) as child:
        family: list[psutil.Process] = []
        until(lambda: "sleep" in _names(family, child.pid))
        child.send_signal(signal.SIGINT)
        child.wait(5)
    until(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], seconds=20)


def _names(family: list[psutil.Process], pid: int) -> set[str]:
    """Look for a process's descendants, add them to the family, and say their names."""
    family[:] = psutil.Process(pid).children(recursive=True)
    return {process.name() for process in family}


def test_it_ends_after_its_last_use(sshd: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_slurm.transport.ssh.config.PERSIST", 1)
    server = sshd()
    with closing(SSHTransport(server.settings()).open()):
        time.sleep(1.2)
        assert masters(server)
    until(lambda: not masters(server), seconds=20)
    SSHTransport(server.settings()).open().close()
    assert server.logins() == 2
