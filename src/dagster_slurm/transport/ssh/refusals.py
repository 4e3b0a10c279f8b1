"""A refused login is remembered for all processes of this user, so that eight workers do not make eight of them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_slurm.errors import CannotAuthenticate, CannotConnect, HostError, HostKeyUnknown

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

    def holds(self, now: float, fingerprint: str, since: float) -> bool:
        """Say whether to fail in the same way without trying.

        Args:
            now: seconds since the epoch.
            fingerprint: of what would be tried, with this refusal's salt.
            since: when the caller began, in seconds since the epoch. A host that did not answer after that will not
                answer now: those who queued up behind the attempt share its outcome.
        """
        if fingerprint != self.fingerprint or self.time > now + 1:
            return False
        if self.kind == CannotAuthenticate.__name__:
            return now - self.time < MEMORY
        return self.time >= since

    def error(self, now: float) -> HostError:
        """Return the error, again."""
        ago = int(now - self.time)
        when = f" (not tried again: this was {ago} s ago)" if ago > 1 else ""
        return _KINDS[self.kind](
            self.message.rstrip(".") + when + ".", hint=self.hint, log_tail=self.log_tail, exit_code=self.exit_code
        )


def fingerprint(digest: str, password: str | None, salt: str) -> str:
    """Return what changes when the settings change.

    Of the password only 16 bits of a slow, salted hash go in: they tell a corrected password from the wrong one, but
    not to anyone which it is.
    """
    if password is None:
        return digest[:32]
    bits = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 20_000)[:2]
    return f"{digest[:32]}.{bits.hex()}"


def remember(path: Path, error: HostError, digest: str, password: str | None) -> None:
    """Write down that a connection could not be opened."""
    if type(error).__name__ not in _KINDS:
        return
    salt = secrets.token_hex(8)
    refusal = Refusal(
        kind=type(error).__name__,
        time=time.time(),
        fingerprint=fingerprint(digest, password, salt),
        salt=salt,
        message=error.message,
        hint=error.hint or "",
        log_tail=error.log_tail or "",
        exit_code=error.exit_code,
    )
    new = path.with_name(f"{path.name}-{salt}")
    with suppress(OSError):  # a full disk: the next process then tries for itself
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(refusal.__dict__, file)
        new.replace(path)


def recall(path: Path) -> Refusal | None:
    """Return what is remembered, if anything."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        refusal = Refusal(**values)
    except (OSError, ValueError, TypeError):
        return None
    return refusal if refusal.kind in _KINDS else None


def forget(path: Path) -> None:
    """Remember nothing: the way is open, or the user tries by hand."""
    with suppress(OSError):
        path.unlink()


def check(path: Path, digest: str, password: str | None, since: float) -> None:
    """Fail as the last attempt did, if trying again is no use.

    Raises:
        HostError: what was remembered.
    """
    refusal = recall(path)
    now = time.time()
    if refusal is not None and refusal.holds(now, fingerprint(digest, password, refusal.salt), since):
        raise refusal.error(now)
