"""The private folder with our sockets and locks. Whoever reaches a socket in it is logged in: it must be ours alone."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from dagster_slurm.errors import CannotConnect, ConfigurationError

#: overrides the place (tests; machines on which /tmp is not shared by all processes of a user)
FOLDER_VARIABLE = "DAGSTER_SLURM_RUNTIME_DIR"

# A socket's path may have 103 bytes (macOS), and ssh binds it under a temporary name that is 17 longer.
_MAX_SOCKET_PATH = 86

# seconds between two looks at a lock that somebody else holds
_LOCK_INTERVAL = 0.03


def private_folder() -> Path:
    """Return the folder, made if need be.

    ``/tmp`` comes first, since it is the same for a shell, a service and a cron job of one user; ``$XDG_RUNTIME_DIR``
    is unset for some of them and wiped at logout.

    Raises:
        ConfigurationError: no place is safe.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        places = [Path(chosen)]
    else:
        places = [Path(f"/tmp/dagster-slurm-{os.getuid()}")]  # noqa: S108  # checked to be ours
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        if runtime:
            places.append(Path(runtime) / "dagster-slurm")
    problems: list[str] = []
    for place in places:
        problem = _problem(place)
        if problem is None:
            return place
        problems.append(problem)
    raise ConfigurationError(
        "There is no private folder for the shared SSH connection: " + "; ".join(problems) + ".",
        hint=f"Set {FOLDER_VARIABLE} to a short path of a folder that only you can enter.",
    )


def ensure(folder: Path) -> None:
    """Make the folder again if somebody cleaned it away.

    Raises:
        ConfigurationError: it is not safe any more.
    """
    problem = _problem(folder)
    if problem is not None:
        raise ConfigurationError(f"The private folder for the shared SSH connection is unusable: {problem}.")


def _problem(folder: Path) -> str | None:
    """Make the folder if need be; say why it cannot be used, or None."""
    if not folder.is_absolute():
        return f"{folder} is not an absolute path"
    if len(os.fsencode(folder)) + 1 + 20 > _MAX_SOCKET_PATH:
        return f"{folder} is too long for a socket"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return is_foreign(folder)


def is_foreign(folder: Path) -> str | None:
    """Say why others might reach into the folder; None if it is a real folder, ours, and closed to them."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to somebody else"
    if status.st_mode & 0o077:
        return f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def is_socket(path: str) -> bool:
    """Say whether there is a socket of ours at ``path``; whether anyone listens is another question."""
    try:
        status = Path(path).lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()


def accepts(path: str) -> bool:
    """Say whether somebody listens at a socket, without starting a process."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


@contextmanager
def only_one(path: Path, *, timeout: float, unless: Callable[[], bool]) -> Generator[bool]:
    """Hold a lock over all processes of this user on this machine.

    Yields False, without the lock, as soon as ``unless()`` is true while another holds it.

    Raises:
        CannotConnect: somebody held it for ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        while not _try_lock(descriptor):
            if unless():
                yield False
                return
            if time.monotonic() > end:
                raise CannotConnect(
                    f"Another process has been opening the connection for {timeout:.0f} s.",
                    hint="If no login waits for an answer in some terminal, end that process.",
                    details={"lock": str(path)},
                )
            time.sleep(_LOCK_INTERVAL)
        yield True
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
