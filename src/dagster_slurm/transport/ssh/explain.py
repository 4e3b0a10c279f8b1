"""ssh's words on standard error -> the error of ours that they mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dagster_slurm.errors import (
    AgentUnavailable,
    CannotAuthenticate,
    CannotConnect,
    HostError,
    HostKeyUnknown,
    NoSession,
)

#: ssh's exit code when the failure is its own
SSH_FAILED = 255
# what shells exit with for a program that cannot be run, or is not found
_NOT_STARTED = (126, 127)

# Behind every client stands ProxyCommand=false, so that it never logs in by itself; this is how ssh takes it.
_FALLBACK = re.compile(
    r"^(?:kex_exchange_identification: .*|Connection closed by UNKNOWN port \d+|ssh_exchange_identification: .*)\n?",
    re.MULTILINE,
)
# ... and this is what it says when nobody listens at the socket, or not any more.
_NO_CONNECTION = re.compile(r"Control socket |mux_client_(?!\w+: session request failed)|muxclient: |read from master ")
_NO_SESSION = re.compile(r"^(?:mux_client_\w+: session request failed|Master refused session request)", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """Whom an explanation is about."""

    #: as the user names it
    host: str
    #: what messages call it
    name: str
    hostname: str
    port: int
    known_hosts: str = "~/.ssh/known_hosts"
    remote_python: str = "python3"
    #: the hosts on the way there, as ssh is told them
    jump_host: str | None = None
    post_login_command: str | None = None

    @property
    def login(self) -> str:
        """The command that opens the connection by hand."""
        return f"dagster-slurm login {self.host}"


def says_connection_lost(error: HostError) -> bool:
    """Say whether a client failed for want of the shared connection, and not by what it ran there."""
    said = (error.log_tail or "").splitlines()
    return error.exit_code == SSH_FAILED and all(_NO_CONNECTION.match(line) for line in said)


def explain_login(place: Place, exit_code: int | None, text: str) -> HostError:
    """Say why a connection could not be opened."""
    for pattern, make in _LOGIN_RULES:
        if re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            error = make(place, text)
            error.exit_code, error.log_tail = exit_code, text
            return error
    return CannotConnect(
        f"The connection to {place.name} could not be opened.",
        hint=f"Try `{place.login}`, which shows what ssh says, or `ssh -v {place.host}`.",
        exit_code=exit_code,
        log_tail=text,
    )


def explain_client(place: Place, exit_code: int | None, text: str) -> HostError:
    """Say why our program ended, or did not start, over the shared connection. No authentication is at stake there."""
    said = _FALLBACK.sub("", text).strip()
    if exit_code == SSH_FAILED and _NO_SESSION.search(said):
        return _no_session(place, said)
    if exit_code is None or exit_code == SSH_FAILED or exit_code < 0:
        further = "" if place.post_login_command is None else f" (Or did `{place.post_login_command}` fail?)"
        return CannotConnect(
            f"The connection to {place.name} ended.",
            hint=f"Jobs run on. It is opened again when needed.{further}",
            exit_code=exit_code,
            log_tail=said,
        )
    if exit_code in _NOT_STARTED or _is_missing(place.remote_python, said):
        return AgentUnavailable(
            f"{place.remote_python} does not start on {place.name}.",
            hint="Set remote_python to a Python 3.6 or newer there (`command -v python3` shows its path), or "
            "post_login_command to what makes it available (`module load python`).",
            exit_code=exit_code,
            log_tail=said,
        )
    return AgentUnavailable(f"The agent on {place.name} ended.", exit_code=exit_code, log_tail=said)


def _is_missing(program: str, text: str) -> bool:
    """Say whether a shell complains about a program; csh then exits with 1."""
    complaint = rf"{re.escape(program.removeprefix('~'))}.*(?:not found|No such file|Permission denied|cannot execute)"
    return re.search(complaint, text, re.IGNORECASE) is not None


def _no_session(place: Place, text: str) -> HostError:
    return NoSession(
        f"{place.name} gives this connection no further session for now.",
        hint="Others that share it must end theirs first (sshd's MaxSessions); max_logins=2 would log in once more.",
        exit_code=SSH_FAILED,
        log_tail=text,
    )


def explain_question(place: Place, question: str) -> HostError:
    """Say that the login stopped at a question that only the user can answer."""
    if "authenticity of host" in question:
        return _host_key_unknown(place, question)
    return CannotAuthenticate(
        f"{place.name} asks for what only you can answer: {question.strip()!r}.",
        hint=f"Run `{place.login}` in a terminal: it asks you, and Dagster then shares that connection.",
    )


def _refused(place: Place, text: str) -> HostError:
    who = _first(text, r"(?m)^(\S+@\S+): Permission denied") or place.name
    expired = "Your password has expired. " if "expired" in text.lower() else ""
    return CannotAuthenticate(
        f"{who} refuses the login.",
        hint=f"{expired}Nothing tries again by itself. Check user, key and agent (`ssh-add -l`), then run "
        f"`{place.login}`; where a one-time code is asked for, that command is always needed first.",
    )


def _unusable_key(place: Place, text: str) -> HostError:
    error = _refused(place, text)
    error.hint = f"The private key is not usable, see below. {error.hint}"
    return error


def _host_key_changed(place: Place, text: str) -> HostError:
    who = _first(text, r"Host key for (\S+) has changed") or _known_as(place)
    file = _first(text, r"Offending .* key in (.+):\d+") or place.known_hosts
    return HostKeyUnknown(
        f"{who} shows another key than the one that is known: either it was reinstalled, or somebody is in between.",
        hint=f"Ask the site for the new fingerprint. If it is right: `ssh-keygen -R '{who}' -f {file}`, then "
        f"{_learn(place, who)}",
    )


def _host_key_unknown(place: Place, text: str) -> HostError:
    named = _first(text, r"host key is known for (\S+)|authenticity of host '([^' ]+)")
    if named is None and place.jump_host is not None:
        return HostKeyUnknown(
            f"The key of {_known_as(place)}, or of a host on the way there ({place.jump_host}), is not in known_hosts.",
            hint=f"Run `{place.login}` and compare the fingerprints that it shows with those that the site publishes.",
        )
    who = named or _known_as(place)
    advice = _learn(place, who)
    return HostKeyUnknown(f"The key of {who} is not in known_hosts.", hint=advice[0].upper() + advice[1:])


def _learn(place: Place, who: str) -> str:
    host, port = _split(who)
    scan = f"ssh-keyscan -p {port} {host}" if port else f"ssh-keyscan {host}"
    return (
        f"run `{place.login}` and compare the fingerprint that it shows with the one the site publishes; or "
        f"`{scan} >> {place.known_hosts}` after comparing `{scan} | ssh-keygen -lf -`."
    )


def _split(who: str) -> tuple[str, str | None]:
    """Split a name of known_hosts, ``host`` or ``[host]:port``."""
    match = re.fullmatch(r"\[(.+)\]:(\d+)", who)
    return (match[1], match[2]) if match else (who, None)


def _known_as(place: Place) -> str:
    return place.hostname if place.port == 22 else f"[{place.hostname}]:{place.port}"  # SSH's port


def _first(text: str, pattern: str) -> str | None:
    match = re.search(pattern, text)
    return next(group for group in match.groups() if group) if match else None


def _unresolved(place: Place, text: str) -> HostError:
    who = _first(text, r"Could not resolve hostname (\S+):") or place.hostname
    error = CannotConnect(
        f"There is no host {who!r}.",
        hint=f"Check the name (`ssh -G {place.host}` shows what ssh makes of it) and the network or VPN.",
    )
    error.passing = "Temporary failure" in text
    return error


def _unreachable(place: Place, text: str) -> HostError:
    match = re.search(r"connect to host (\S+) port (\d+):", text)
    who, port = match.groups() if match else (place.hostname, place.port)
    return CannotConnect(
        f"{who} does not answer at port {port}.",
        hint="Check host, port, jump host, and the network or VPN. Jobs run on meanwhile.",
    )


def _hung_up(place: Place, _text: str) -> HostError:
    return CannotConnect(
        f"{place.hostname} closed the connection before the login.",
        hint="It limits new connections (MaxStartups), or bans this address for a while. Wait before trying again.",
    )


def _no_agreement(place: Place, _text: str) -> HostError:
    return CannotConnect(
        f"ssh and {place.hostname} agree on no method, see below.",
        hint="Name what the host offers in ~/.ssh/config (Ciphers, KexAlgorithms, HostKeyAlgorithms).",
    )


_LOGIN_RULES: tuple[tuple[str, Callable[[Place, str], HostError]], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed", _host_key_changed),
    (r"host key is known for|Host key verification failed|authenticity of host", _host_key_unknown),
    (r"UNPROTECTED PRIVATE KEY|bad permissions|invalid format|error in libcrypto", _unusable_key),
    (
        r"Permission denied|Too many authentication|Authentication failed|No more authentication|password.*expired",
        _refused,
    ),
    (r"Could not resolve|Name or service not known|nodename nor servname", _unresolved),
    (r"no matching .* found|Unable to negotiate", _no_agreement),
    (r"Connection refused|timed out|No route to host|unreachable|stdio forwarding failed|Host is down", _unreachable),
    (r"kex_exchange_identification|MaxStartups|Not allowed at this time|Connection (closed|reset) by", _hung_up),
)
