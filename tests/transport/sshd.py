"""A real sshd on loopback, as odd as a test wants it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dagster_slurm.transport.ssh import SSHSettings

from .accounts import PAM, PASSWORD, PREFIX, Account
from .wait import until

_PAM = "auth required pam_unix.so nodelay\n{more}account required pam_permit.so\nsession required pam_permit.so\n"
OATH = next((str(path) for path in Path("/").glob("lib/*/security/pam_oath.so")), None)
#: of the one-time codes, in hexadecimal
OATH_KEY = "3132333435363738393031323334353637383930"

_AUTHENTICATION = {
    "key": ["PubkeyAuthentication yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no"],
    "password": ["PubkeyAuthentication no", "PasswordAuthentication yes", "UsePAM no"],
    "both": ["PubkeyAuthentication no", "PasswordAuthentication yes", "UsePAM yes"],
    "prompt": ["PubkeyAuthentication no", "PasswordAuthentication no", "UsePAM yes"],
}
_AUTHENTICATION["code"] = _AUTHENTICATION["prompt"]


@dataclass
class Sshd:
    """A server; ``auth`` is one of key, password, prompt (keyboard-interactive), code (one-time codes) and both."""

    folder: Path
    account: Account
    auth: str = "key"
    options: Sequence[str] = ()
    banner: bool = False
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o755)
        for name in ("host", "id"):
            make_key(self.folder / name)
        shutil.copy(self.folder / "id.pub", self.folder / "authorized_keys")
        self.port = self.port or _free_port()
        self.known_hosts = self.folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        (self.folder / "banner").write_text("*** Authorised use only ***\n")
        (self.folder / "sshd.conf").write_text("\n".join(self._lines()) + "\n")
        self._pam()
        self.start()

    def _lines(self) -> list[str]:
        return [
            *self.options,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"PidFile {self.folder}/pid",
            *([f"Banner {self.folder}/banner"] if self.banner else []),
            *_AUTHENTICATION[self.auth],
            "UseDNS no",
            "StrictModes no",  # /tmp is open to all
            "LogLevel VERBOSE",
        ]

    def _pam(self) -> None:
        """Give sshd a name of its own, since that is how it finds its PAM rules."""
        self._program = self.folder / f"{PREFIX}{os.getpid()}-{self.folder.name}"
        self._program.symlink_to(shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "/usr/sbin/sshd")
        codes = self.folder / "codes"
        codes.write_text(f"HOTP {self.account.name} - {OATH_KEY}\n")
        codes.chmod(0o600)
        more = f"auth required pam_oath.so usersfile={codes} window=5\n" if self.auth == "code" else ""
        self._rules = PAM / self._program.name
        self._rules.write_text(_PAM.format(more=more))

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        argv = [str(self._program), "-D", "-f", str(self.folder / "sshd.conf"), "-E", str(self.folder / "log")]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        """End the server and every connection to it."""
        if self._process is not None:
            for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        self._rules.unlink()

    def settings(self, **changes: Any) -> SSHSettings:
        """How to reach it without anyone's configuration."""
        usual: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.account.name,
            "known_hosts_file": str(self.known_hosts),
            "config_file": "/dev/null",
            "connect_timeout": 10,
        }
        usual |= {"key_path": str(self.folder / "id")} if self.auth == "key" else {"password": PASSWORD}
        return SSHSettings(**(usual | changes))

    def config(self, alias: str, *more: str) -> str:
        """The lines of ~/.ssh/config that reach it."""
        lines = [
            f"Host {alias}",
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"User {self.account.name}",
            f"IdentityFile {self.folder}/id",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.known_hosts}",
            *more,
        ]
        return "\n".join(lines) + "\n"

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def logins(self) -> int:
        return len(re.findall(r"Accepted \S+ for ", self.log()))

    def connections(self) -> int:
        return self.log().count("Connection from 127.0.0.1") - 1  # the first is our own look at whether it answers

    def refusals(self) -> int:
        """Attempts that count against the one who made them."""
        return self.log().count("Failed ") + self.log().count("error: PAM: ")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_key(path: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
