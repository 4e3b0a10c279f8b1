"""Fetches the files that a lock names, from where it says, with the hashes that it says."""

from __future__ import annotations

import base64
import hashlib
import netrc
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO

from dagster_slurm.environments import kept
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.errors import EnvironmentUnavailable
from dagster_slurm.remote import rundir

_TIMEOUT = 60.0
_ATTEMPTS = 3


def fetch(locked: Locked, beside: Path) -> Path:
    """Return a package's file on this machine; fetched if it is not kept already.

    Args:
        locked: what the lock says of it.
        beside: the lock's folder, which relative paths begin from.

    Raises:
        EnvironmentUnavailable: it cannot be had, or has another content than the lock says.
    """
    target = kept.wheel(locked.sha256, locked.file)
    if kept.has_content(target, locked.sha256):
        return target
    rundir.make_private(str(target.parent))
    for attempt in range(_ATTEMPTS):
        try:
            with _opened(locked.location, beside) as source:
                return _stored(source, target, locked)
        except (OSError, urllib.error.URLError) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or attempt == _ATTEMPTS - 1:
                raise _unavailable(locked, error) from error
    raise AssertionError


def _opened(location: str, beside: Path) -> BinaryIO:
    parts = urllib.parse.urlsplit(location)
    if parts.scheme in ("http", "https"):
        headers = {"User-Agent": "dagster-slurm", **_authorization(parts)}
        plain = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return urllib.request.urlopen(urllib.request.Request(plain, headers=headers), timeout=_TIMEOUT)  # noqa: S310
    path = urllib.request.url2pathname(parts.path) if parts.scheme == "file" else location
    return (beside / path).open("rb")


def _authorization(parts: urllib.parse.SplitResult) -> dict[str, str]:
    """Return who we are for a private index: by the URL, else by ``~/.netrc``, as uv and pip do."""
    login, password = parts.username, parts.password
    if login is None:
        try:
            entry = netrc.netrc(os.environ.get("NETRC") or None).authenticators(parts.hostname or "")
        except (OSError, netrc.NetrcParseError):
            entry = None
        if entry is None:
            return {}
        login, _, password = entry
    pair = f"{urllib.parse.unquote(login)}:{urllib.parse.unquote(password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _stored(source: BinaryIO, target: Path, locked: Locked) -> Path:
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        try:
            while piece := source.read(1 << 18):
                digest.update(piece)
                file.write(piece)
            file.close()
            if digest.hexdigest() != locked.sha256:
                raise EnvironmentUnavailable(
                    f"{locked.file} has another content than the lock file says",
                    details={"from": _public(locked.location), "SHA-256": digest.hexdigest(), "locked": locked.sha256},
                    hint="Lock anew if the index is to be trusted.",
                )
            Path(file.name).replace(target)
        finally:
            Path(file.name).unlink(missing_ok=True)
    return target


def keep(file: Path, sha256: str) -> Path:
    """Keep a file that was made here; return where."""
    target = kept.wheel(sha256, file.name)
    rundir.make_private(str(target.parent))
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    shutil.copyfile(file, temporary)
    temporary.replace(target)
    return target


def _unavailable(locked: Locked, error: Exception) -> EnvironmentUnavailable:
    return EnvironmentUnavailable(
        f"{locked.file} cannot be fetched: {error}",
        details={"from": _public(locked.location)},
        hint="See whether this machine reaches the index; private ones take their login from ~/.netrc.",
    )


def _public(location: str) -> str:
    """Return a URL without the login that may stand in it."""
    parts = urllib.parse.urlsplit(location)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
