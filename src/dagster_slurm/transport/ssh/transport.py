"""The transport itself: one ``ssh`` process per stream, over the shared connection."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

from dagster_slurm.errors import CannotConnect, HostError, NoSession
from dagster_slurm.transport.process import Beginning, ProcessStream
from dagster_slurm.transport.ssh import askpass, config
from dagster_slurm.transport.ssh.counting import counts
from dagster_slurm.transport.ssh.explain import explain_client, says_connection_lost
from dagster_slurm.transport.ssh.master import Host, Master
from dagster_slurm.transport.ssh.settings import SSHSettings

# seconds that a program gets to end once its input is closed; one in a terminal does not see that, and is hung up on
_GRACE = 2.0
_GRACE_TTY = 0.1

_hosts: dict[SSHSettings, Host] = {}
_hosts_lock = threading.Lock()


class SSHTransport:
    """Starts the bootstrap on a host. Creating one does no I/O; all with the same settings share what they know."""

    def __init__(self, settings: SSHSettings) -> None:
        self.settings = settings
        self.name = settings.name
        # The password does not decide where one arrives.
        told = repr(replace(settings, password=None)).encode()
        self.key = f"ssh:{settings.name}:{hashlib.sha256(told).hexdigest()[:12]}"

    def open(self) -> ProcessStream:
        """Start the bootstrap; log in if no connection is open. Waits for first output, ``connect_timeout`` at most.

        Raises:
            ConfigurationError: ssh does not accept the settings.
            HostError: one of its subclasses says why it cannot be started.
        """
        try:
            return self._open()
        except OSError as error:
            raise CannotConnect(
                f"ssh to {self.name} cannot be started here: {error.strerror or error}.",
                hint="It is this machine that lacks something: disk space in the temporary folder, processes, files.",
            ) from error

    def _open(self) -> ProcessStream:
        host = _host(self.settings)
        for number, master in enumerate(host.masters):
            try:
                return _open_over(host, master)
            except NoSession:
                if number + 1 == len(host.masters):
                    raise
            except HostError as error:
                if number == 0:
                    self._look_anew()
                    raise
                # The first connection stands; that no further one is to be had means waiting for a session on it.
                raise NoSession(error.message, hint=error.hint, log_tail=error.log_tail) from error
        raise AssertionError("max_logins is at least 1")

    def _look_anew(self) -> None:
        """Ask ssh again next time: the user may mend ``~/.ssh/config`` meanwhile."""
        with _hosts_lock:
            _hosts.pop(self.settings, None)


def _host(settings: SSHSettings) -> Host:
    with _hosts_lock:
        host = _hosts.get(settings)
    if host is None:
        host = Host(settings)  # asks ssh, which may take its time: nobody else waits for that
        with _hosts_lock:
            host = _hosts.setdefault(settings, host)
    return host


def _open_over(host: Host, master: Master) -> ProcessStream:
    """Start a client; if the connection turns out to be dead, once more over a new one."""
    path = master.socket()
    try:
        stream = _start(host, path)
    except HostError as error:
        if not says_connection_lost(error):
            raise
        stream = _start(host, master.renewed(path))
    master.prove()
    return stream


def _start(host: Host, path: str) -> ProcessStream:
    """Start a client and see it begin.

    Raises:
        HostError: it ended before it said anything.
    """
    settings = host.settings
    counts.add(sessions=1)
    stream = ProcessStream(
        config.client_argv(settings, host.resolved, path),
        explain=lambda code, text: explain_client(host.place, code, text),
        tty=settings.force_tty,
        grace=_GRACE_TTY if settings.force_tty else _GRACE,
        env=askpass.unattended(),
    )
    begun = False
    try:
        if stream.beginning(settings.connect_timeout) is Beginning.END:
            raise stream.failure()
        begun = True
    finally:
        if not begun:
            stream.close()
    return stream
