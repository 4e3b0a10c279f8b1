"""Answers ssh's question for the password: once, to the right host, and nothing else.

ssh runs ``askpass.sh``, which asks us over a socket in the private folder. So the password is in no argument, no
environment and no file, and each question is known: a request for a one-time code ends the attempt at once instead of
being answered with a wrong guess that counts as a failed login.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from dagster_slurm.errors import ConfigurationError

SCRIPT = Path(__file__).with_name("askpass.sh")

# ``user@host's password:``; ``(user@host) Password:`` before questions that the host words itself, from OpenSSH 8.4 on
_OURS = re.compile(r"^(?P<who>\S+@\S+)'s password: ?$|^\((?P<asker>\S+@[^\s)]+)\) ")
_PASSWORD = re.compile(r"passwor[dt]|mot de passe|contraseña|senha", re.IGNORECASE)
_OTHER_SECRET = re.compile(
    r"one.?time|\botp\b|oath|token|\bcode\b|passcode|verification|factor|yubi|duo|\bnew\b|retype|again|expired|change",
    re.IGNORECASE,
)
_LOCAL = re.compile(r"passphrase|\bpin\b|user presence", re.IGNORECASE)

# seconds that the helper gets to put its question
_QUESTION_TIMEOUT = 5.0
# the longest question read, in bytes
_QUESTION_LIMIT = 8192


class Reply(Enum):
    """What to do about a question."""

    PASSWORD = "password"  # noqa: S105  # not a password
    #: ssh goes on without: the question concerns a key on this machine
    NONE = "none"
    #: end the attempt: only the user can answer this
    HUMAN = "human"
    #: end the attempt: the password was given, and it is asked for again
    REFUSED = "refused"


def reply_to(question: str, user: str, hostnames: Collection[str], *, given: bool) -> Reply:
    """Decide about one of ssh's questions.

    Args:
        question: as ssh puts it.
        user: whom the password belongs to.
        hostnames: what ssh may call the host that it is for; a jump host must not get it.
        given: the password was given before, in this attempt.
    """
    if _LOCAL.search(question):
        return Reply.NONE
    words = question
    if match := _OURS.match(question):
        asker: str = match["who"] or match["asker"]
        if asker.lower() not in [f"{user[:30]}@{name[:128]}".lower() for name in hostnames]:
            return Reply.HUMAN
        # In ssh's own phrase only the names vary, and they must not matter.
        words = "password" if match["who"] else question[match.end() :]
    if not _PASSWORD.search(words) or _OTHER_SECRET.search(words):
        return Reply.HUMAN
    return Reply.REFUSED if given else Reply.PASSWORD


class Asked:
    """Answers questions until closed; tells what became of them."""

    def __init__(self, password: str, user: str, hostnames: Collection[str]) -> None:
        self._password = password
        self._user = user
        self._hostnames = hostnames
        self._given = False
        #: set when the attempt must end: nothing is answered any more, since even an empty answer is an attempt
        self.over = threading.Event()
        #: set when it has ended
        self.ended = threading.Event()
        self.verdict = Reply.NONE
        self.question = ""

    def answer(self, question: str) -> str:
        """Return the answer, empty for none."""
        reply = reply_to(question, self._user, self._hostnames, given=self._given)
        if reply is Reply.PASSWORD:
            self._given = True
            return self._password + "\n"
        if reply in (Reply.HUMAN, Reply.REFUSED):
            self.verdict, self.question = reply, question
            self.over.set()
        return ""


@contextmanager
def answering(asked: Asked, folder: Path) -> Generator[dict[str, str]]:
    """Answer from a socket in ``folder``; yields the environment for ssh."""
    path = folder / f"ask-{secrets.token_hex(4)}"
    environment = {
        **os.environ,
        "SSH_ASKPASS": str(helper(folder)),
        "SSH_ASKPASS_REQUIRE": "force",
        "DISPLAY": os.environ.get("DISPLAY") or ":0",  # before OpenSSH 8.4 there is no askpass without it
        "DAGSTER_SLURM_ASKPASS_PYTHON": sys.executable,
        "DAGSTER_SLURM_ASKPASS_SOCKET": str(path),
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=_serve, args=(server, asked), name="askpass", daemon=True)
        thread.start()
        try:
            yield environment
        finally:
            asked.ended.set()
            with suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))  # wakes the thread
            path.unlink(missing_ok=True)
            thread.join(_QUESTION_TIMEOUT)


def unattended() -> dict[str, str]:
    """Return an environment in which no ssh, not even one to a jump host, asks anybody anything."""
    return {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}


def _serve(server: socket.socket, asked: Asked) -> None:
    while True:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            if asked.ended.is_set():
                return
            connection.settimeout(_QUESTION_TIMEOUT)
            question = b""
            while len(question) < _QUESTION_LIMIT and (part := connection.recv(4096)):
                question += part
            answer = asked.answer(question.decode(errors="replace"))
            if asked.over.is_set():
                asked.ended.wait(_QUESTION_TIMEOUT)
            connection.sendall(answer.encode())


def helper(folder: Path, script: Path = SCRIPT) -> Path:
    """Return the helper as a file that can be run: as installed, or a copy in ``folder`` where that lost its mode."""
    if os.access(script, os.X_OK):
        return script
    copy = folder / "askpass.sh"
    new = folder / f"askpass-{secrets.token_hex(4)}"
    shutil.copyfile(script, new)
    new.chmod(0o700)
    new.replace(copy)
    if not os.access(copy, os.X_OK):
        raise ConfigurationError(f"{copy} cannot be run.", hint=f"Make {script} executable.")
    return copy
