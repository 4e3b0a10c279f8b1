"""The unprivileged user of a cluster."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from testcluster.execute import ClusterError, run, wait_for
from testcluster.layout import Layout

_SHARED_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


def exists(layout: Layout) -> bool:
    """Whether the account is there; an account of that name with another home is not ours."""
    try:
        entry = pwd.getpwnam(layout.user)
    except KeyError:
        return False
    if entry.pw_dir != str(layout.home):
        msg = f"the host has a user {layout.user} that is not the cluster's (home {entry.pw_dir})"
        raise ClusterError(msg)
    return True


def uid(layout: Layout) -> int:
    """The user's numeric id."""
    return pwd.getpwnam(layout.user).pw_uid


def create(layout: Layout, shell: str, password: str) -> None:
    """Make the account and an empty home."""
    if not exists(layout):
        command = ["useradd", "--home-dir", str(layout.home), "--no-create-home", "--user-group", "--shell", shell]
        # Another cluster may hold the lock of /etc/passwd.
        wait_for("useradd", lambda: run([*command, layout.user]), timeout=10, interval=0.3)
    # Hashed by chpasswd itself: PAM may refuse a password, or ask.
    run(["chpasswd", "--crypt-method", "SHA512"], stdin=f"{layout.user}:{password}\n")
    layout.home.mkdir(mode=0o700, exist_ok=True)
    _own(layout, layout.home)


def give(layout: Layout, path: Path, text: str) -> None:
    """Write a file of the user's."""
    give_folder(layout, path.parent)
    path.write_text(text)
    _own(layout, path)


def give_folder(layout: Layout, path: Path) -> None:
    """Make a folder of the user's, with those above it inside the home."""
    for folder in [*reversed(path.parents), path]:
        if layout.home in folder.parents and not folder.exists():
            folder.mkdir(mode=0o700)
            _own(layout, folder)


def _own(layout: Layout, path: Path) -> None:
    entry = pwd.getpwnam(layout.user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def remove(layout: Layout) -> None:
    """Remove the account and what its jobs left in folders that everybody shares."""
    if not exists(layout):
        return
    number = uid(layout)
    for folder in _SHARED_FOLDERS:
        for path in folder.glob("*"):
            _remove_if_owned(path, number)
    wait_for("userdel", lambda: run(["userdel", layout.user]), timeout=10, interval=0.3)


def _remove_if_owned(path: Path, number: int) -> None:
    try:
        if path.lstat().st_uid != number:
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return  # somebody else was faster
