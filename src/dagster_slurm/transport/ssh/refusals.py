"""A refused login is remembered for all processes of this user, so that eight workers do not make eight of them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dagster_slurm.errors import CannotAuthenticate, CannotConnect, ConfigurationError, HostError, HostKeyUnknown
from dagster_slurm.transport.ssh.settings import SSHSettings

#: seconds for which a refused login is not tried again
MEMORY = 15 * 60

_KINDS: dict[str, type[HostError]] = {
    kind.__name__: kind for kind in (CannotAuthenticate, CannotConnect, HostKeyUnknown)
}


@dataclass(frozen=True)
class Refusal:
    """A connection that could not be opened."""

    kind: str
    #: seconds since the epoch
    time: float
    #: of what was tried; see :func:`fingerprint`
    fingerprint: str
    salt: str
    message: str
    hint: str
    log_tail: str
    exit_code: int | None
    #: see :class:`CannotConnect`
    passing: bool
    #: what was tried, but for the password: so that ``dagster-slurm login HOST`` connects in the same way
    settings: dict[str, Any]

    def holds(self, now: float, fingerprint: str, since: float, *, ours: bool) -> bool:
        """Say whether to fail in the same way without trying.

        Args:
            now: seconds since the epoch.
            fingerprint: of what would be tried, with this refusal's salt.
            since: when the caller began, in seconds since the epoch. A host that did not answer after that will not
                answer now: those who queued up behind the attempt share its outcome.
            ours: this process saw it. A step that waits for days must not be refused every 15 minutes.
        """
        if fingerprint != self.fingerprint:
            return False
        if self.kind == CannotAuthenticate.__name__:
            return ours or -1 < now - self.time < MEMORY
        return since <= self.time < now + 1

    def error(self, now: float) -> HostError:
        """Return the error, again."""
        ago = int(now - self.time)
        when = f" (not tried again: this was {ago} s ago)" if ago > 1 else ""
        error = _KINDS[self.kind](
            self.message.rstrip(".") + when + ".", hint=self.hint, log_tail=self.log_tail, exit_code=self.exit_code
        )
        if isinstance(error, CannotConnect):
            error.passing = self.passing
        return error


def fingerprint(digest: str, password: str | None, salt: str) -> str:
    """Return what changes when the settings change.

    Of the password only 16 bits of a slow, salted hash go in: they tell a corrected password from the wrong one, but
    not to anyone which it is.
    """
    if password is None:
        return digest[:32]
    bits = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 20_000)[:2]
    return f"{digest[:32]}.{bits.hex()}"


# what this process saw, by file; a full disk does not make it forget
_seen: dict[Path, Refusal] = {}


def remember(path: Path, error: HostError, digest: str, settings: SSHSettings) -> None:
    """Write down that a connection could not be opened."""
    if type(error).__name__ not in _KINDS:
        return
    salt = secrets.token_hex(8)
    refusal = Refusal(
        kind=type(error).__name__,
        time=time.time(),
        fingerprint=fingerprint(digest, settings.password, salt),
        salt=salt,
        message=error.message,
        hint=error.hint or "",
        log_tail=error.log_tail or "",
        exit_code=error.exit_code,
        passing=not isinstance(error, CannotConnect) or error.passing,
        settings={**asdict(settings), "password": None},
    )
    _seen[path] = refusal
    new = path.with_name(f"{path.name}-{salt}")
    with suppress(OSError):
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(refusal), file)
        new.replace(path)


def forget(path: Path) -> None:
    """Remember nothing: the way is open."""
    _seen.pop(path, None)
    with suppress(OSError):
        path.unlink()


def check(path: Path, digest: str, password: str | None, since: float) -> None:
    """Fail as the last attempt did, if trying again is no use.

    Raises:
        HostError: what was remembered.
    """
    now = time.time()
    for refusal, ours in ((_seen.get(path), True), (_recall(path), False)):
        if refusal is None:
            continue
        if refusal.holds(now, fingerprint(digest, password, refusal.salt), since, ours=ours):
            raise refusal.error(now)


def tried(folder: Path, host: str) -> SSHSettings | None:
    """Return the settings with which ``host`` was last tried in vain."""
    refusals = [refusal for path in folder.glob("*.refused") if (refusal := _recall(path)) is not None]
    of_host = [refusal for refusal in refusals if refusal.settings.get("host") == host]
    if not of_host:
        return None
    values = max(of_host, key=lambda refusal: refusal.time).settings
    values["extra_opts"] = tuple(values.get("extra_opts", ()))
    try:
        return SSHSettings(**values)
    except (TypeError, ConfigurationError):  # written by another version of us
        return None


def _recall(path: Path) -> Refusal | None:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        refusal = Refusal(**values)
    except (OSError, ValueError, TypeError):
        return None
    return refusal if refusal.kind in _KINDS else None
