"""Unprivileged users of this machine, made for the tests and removed after them. Needs root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PASSWORD = "corréct 'horse\" $battery"
#: of the names of all that the tests make outside their folders; the process's number follows
PREFIX = "dslt"
PAM = Path("/etc/pam.d")
# What login shells print that do not know better.
_START_FILES = {"bash": ".bashrc", "csh": ".cshrc", "fish": ".config/fish/config.fish"}
NOISE = "Welcome! Your quota is fine."


@dataclass(frozen=True)
class Account:
    name: str
    home: Path
    shell: str

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.name).pw_uid

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Its processes whose command line has the word in it, but for sshd's own."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if process.uids().real == self.uid and not line[0].startswith("sshd:") and word in " ".join(line):
                    found.append(process)
        return found

    def give(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        for entry in (path, *path.parents):
            if self.home in (entry, *entry.parents):
                os.chown(entry, self.uid, -1)
        return path


def create(shell: str, base: Path, suffix: str = "") -> Account:
    """Make a user; his shell greets him whenever it starts. The suffix tells users with the same shell apart."""
    program = shutil.which(shell)
    assert program is not None
    account = Account(f"{PREFIX}{os.getpid()}-{shell}{suffix}", base / f"home-{shell}{suffix}", shell)
    account.home.mkdir(mode=0o755)
    _patiently("useradd", "-M", "-d", str(account.home), "-s", program, account.name)
    secret = f"{account.name}:{PASSWORD}\n"
    subprocess.run(["chpasswd", "-c", "SHA512"], input=secret.encode(), check=True, capture_output=True)
    account.give(_START_FILES[shell], f"echo '{NOISE}'\n".encode())
    return account


def remove(account: Account) -> None:
    for process in account.processes():
        with contextlib.suppress(psutil.Error):
            process.kill()
    _patiently("userdel", "-f", account.name)


def remove_leftovers() -> None:
    """Remove users and PAM rules of test runs that were killed."""
    for entry in pwd.getpwall():
        if _is_left_over(entry.pw_name):
            remove(Account(entry.pw_name, Path(entry.pw_dir), ""))
    for rules in PAM.glob(f"{PREFIX}*"):
        if _is_left_over(rules.name):
            rules.unlink()


def _is_left_over(name: str) -> bool:
    number, _, _ = name.removeprefix(PREFIX).partition("-")
    return name.startswith(PREFIX) and number.isdigit() and not psutil.pid_exists(int(number))


def _patiently(*argv: str) -> None:
    """Run a command that fails while somebody else holds the lock of /etc/passwd."""
    for last in _attempts(10.0):
        done = subprocess.run(argv, capture_output=True, check=False, text=True)
        if done.returncode == 0:
            return
        assert not last, done.stderr


def _attempts(seconds: float) -> Iterator[bool]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield False
        time.sleep(0.2)
    yield True
