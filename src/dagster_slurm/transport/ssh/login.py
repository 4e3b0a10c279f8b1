"""The connection opened by the user, at a terminal: one-time codes, passphrases, a host key never seen."""

from __future__ import annotations

import os
import subprocess

from dagster_slurm.errors import CannotConnect
from dagster_slurm.transport.ssh import config, refusals
from dagster_slurm.transport.ssh.counting import counts
from dagster_slurm.transport.ssh.folder import private_folder
from dagster_slurm.transport.ssh.master import Host
from dagster_slurm.transport.ssh.settings import SSHSettings

#: seconds without use after which a connection opened at a terminal ends: a working day, since it cost a human's time
PERSIST = 12 * 3600

# seconds to wait for another login that is going on
_LOCK_TIMEOUT = 150.0


def login(settings: SSHSettings, *, persist: int = PERSIST) -> None:
    """Open the shared connection in this terminal; ssh itself asks for what it needs. Nothing if it is open.

    Args:
        settings: where to.
        persist: seconds after its last use at which it ends.

    Raises:
        CannotConnect: ssh failed; it has said why on the terminal.
    """
    host = Host(settings)
    master = host.masters[0]
    if master.listening():
        master.prove()
        return
    with master.only_one(_LOCK_TIMEOUT) as ours:
        if not ours or master.listening():
            return
        master.remove_stale()
        counts.add(logins=1)
        argv = config.login_argv(settings, host.resolved, master.path, persist)
        # Not our standard output: who pipes it must not wait for the process that stays in the background.
        environment = {**os.environ, "SHELL": "/bin/sh"}  # runs the ProxyCommand
        code = subprocess.run(argv, stdout=subprocess.DEVNULL, env=environment, check=False).returncode
    # It answers once it has left the terminal: before that, closing the terminal would end it.
    if code != 0 or not master.listens(master.path):
        raise CannotConnect(
            f"The connection to {settings.name} was not opened.",
            hint="ssh said why above this message.",
            exit_code=code,
        )
    master.prove()


def settings_for(host: str) -> SSHSettings:
    """Return the settings that ``dagster-slurm login HOST`` means: those last tried in vain, or just the name."""
    return refusals.tried(private_folder(), host) or SSHSettings(host=host)


def logout(settings: SSHSettings) -> bool:
    """End the connections that we opened (never one that the user opened otherwise); say whether there was any."""
    host = Host(settings)
    open_ones = [master for master in host.masters if master.listens(master.path)]
    for master in open_ones:
        counts.add()
        argv = config.stop_argv(settings, master.path)
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return bool(open_ones)
