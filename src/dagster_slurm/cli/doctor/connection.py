"""The way to the host: each step of a login, and how many sessions the shared connection gives."""

from __future__ import annotations

import time
from typing import Any

from dagster_slurm.cli.doctor.finding import Finding
from dagster_slurm.engine.channel import Channel
from dagster_slurm.errors import CannotAuthenticate, CannotConnect, DagsterSlurmError, HostError, HostKeyUnknown
from dagster_slurm.transport.ssh.counting import counts
from dagster_slurm.transport.ssh.master import Host as SSHHost
from dagster_slurm.transport.ssh.settings import SSHSettings
from dagster_slurm.transport.ssh.transport import SSHTransport

#: sessions that are asked for at once: one for each of a few Dagster processes
SESSIONS = 3


def check(settings: SSHSettings) -> list[Finding]:
    """Return what became of a login; the last finding is ``bad`` if there is none."""
    try:
        resolved = SSHHost(settings).resolved
    except DagsterSlurmError as error:
        return [Finding("SSH config", "bad", error.message, error.hint or "See ssh_config(5).")]
    way = f" through {resolved.jump_host}" if resolved.jump_host else ""
    found = [
        Finding("SSH config", "ok", f"{settings.name} is {resolved.user}@{resolved.hostname}:{resolved.port}{way}")
    ]
    begun, logins = time.monotonic(), counts.logins
    channels: list[Channel] = []
    try:
        channels.append(_open(settings))
    except HostError as error:
        return [*found, *_refused(error)]
    how = (
        f"logged in in {time.monotonic() - begun:.1f} s" if counts.logins > logins else "a connection was open already"
    )
    found += [Finding("host key", "ok", f"is in {resolved.known_hosts}"), Finding("authentication", "ok", how)]
    return [*found, _sessions(settings, channels)]


def _open(settings: SSHSettings) -> Channel:
    return Channel(SSHTransport(settings), {}, _ignore_frame, _ignore_end)


def _refused(error: HostError) -> list[Finding]:
    """Say at which step of the login it ended."""
    text = f"{error.message} {_last_line(error)}".strip()
    remedy = error.hint or "Log in by hand and see."
    if isinstance(error, HostKeyUnknown):
        return [Finding("host key", "bad", text, remedy)]
    if isinstance(error, CannotAuthenticate):
        return [Finding("host key", "ok", "known"), Finding("authentication", "bad", text, remedy)]
    if isinstance(error, CannotConnect):
        return [Finding("network", "bad", text, remedy)]
    known = [Finding("host key", "ok", "known"), Finding("authentication", "ok", "logged in")]
    return [*known, Finding("our program", "bad", text, remedy)]


def _last_line(error: HostError) -> str:
    lines = (error.log_tail or "").strip().splitlines()
    return f"({lines[-1].strip()})" if lines else ""


def _sessions(settings: SSHSettings, channels: list[Channel]) -> Finding:
    """Ask for some sessions at once, and end them."""
    logins = counts.logins
    try:
        while len(channels) < SESSIONS:
            channels.append(_open(settings))
    except HostError as error:
        text = f"{len(channels)} at once over the shared connection ({error.message})"
        remedy = "Nothing to do: Dagster's processes take turns. max_logins=2 would log in once more."
        return Finding("sessions", "note", text, remedy)
    finally:
        for channel in channels:
            channel.close()
    if counts.logins > logins:
        remedy = "Connections are not shared: see ControlMaster in ssh_config(5), and the site's rules."
        return Finding("sessions", "note", "each session needed a login of its own", remedy)
    return Finding("sessions", "ok", f"{SESSIONS} at once over one shared connection")


def _ignore_frame(head: dict[str, Any], body: bytes) -> None:
    """A session is opened, nothing is asked."""


def _ignore_end(channel: Channel, error: HostError) -> None:
    """A session that ends early is not waited for."""
