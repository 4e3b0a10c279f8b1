"""The connection that everything shares: found, opened once, or opened by the user."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from dagster_slurm.errors import CannotConnect, ConfigurationError, HostError
from dagster_slurm.transport.ssh import askpass, config, refusals
from dagster_slurm.transport.ssh.counting import counts
from dagster_slurm.transport.ssh.explain import Place, explain_login, explain_question
from dagster_slurm.transport.ssh.folder import accepts, ensure, is_socket, only_one, private_folder
from dagster_slurm.transport.ssh.settings import SSHSettings

# seconds that a login may take once the host answers
_LOGIN_TIMEOUT = 45.0
# seconds for ``ssh -G``, which may ask a name server, or run a ``Match exec`` of the user's
_RESOLVE_TIMEOUT = 60.0
# seconds in which the process behind a socket must answer
_CHECK_TIMEOUT = 10.0
# seconds to wait for another process that is logging in (perhaps a human, at a terminal)
_LOCK_TIMEOUT = 150.0
# seconds between two looks at an attempt
_STEP = 0.1


class Host:
    """A host as ``ssh -G`` sees it, with its shared connections."""

    def __init__(self, settings: SSHSettings) -> None:
        self.settings = settings
        self.folder = private_folder()
        self.resolved = resolve(settings)
        self.place = Place(
            host=settings.host,
            name=settings.name,
            hostname=self.resolved.hostname,
            port=self.resolved.port,
            known_hosts=settings.known_hosts_file or self.resolved.known_hosts,
            remote_python=settings.remote_python,
            jump_host=self.resolved.jump_host,
            post_login_command=settings.post_login_command,
        )
        self.masters = [Master(self, slot) for slot in range(settings.max_logins)]


class Master:
    """One shared connection; number 0 may be the user's own."""

    def __init__(self, host: Host, slot: int) -> None:
        self._host = host
        self._slot = slot
        self._lock = threading.Lock()
        self._known: str | None = None
        self._proven = False
        name = host.resolved.identity + (f".{slot}" if slot else "")
        self.path = str(host.folder / name)
        self._lock_path = host.folder / f"{name}.lock"
        self.refusal_path = host.folder / f"{name}.refused"

    def socket(self) -> str:
        """Return where the connection is shared: as known, as found, or after opening it. Opens one at a time.

        Raises:
            HostError: it cannot be opened.
        """
        with self._lock:
            if self._known is None:
                self._known = self._candidate() or self._open()
            return self._known

    def renewed(self, path: str) -> str:
        """Return where it is shared now that it was lost at ``path``; another process may have opened it again there.

        Raises:
            HostError: it cannot be opened again.
        """
        if self.listens(path):
            return path
        with self._lock:
            if self._known in (path, None):
                self._known = None
                self._known = self._open()
            return self._known

    def prove(self) -> None:
        """Take note that a program was started over it: a refusal of the past is one no more."""
        if not self._proven:
            self._proven = True
            refusals.forget(self.refusal_path)

    def listens(self, path: str) -> bool:
        """Ask whoever is behind a socket."""
        if not is_socket(path):
            return False
        return _run(config.check_argv(self._host.settings, path), _CHECK_TIMEOUT).returncode == 0

    def listening(self) -> str | None:
        """Return the first socket behind which somebody answers."""
        return next((path for path in self._places() if self.listens(path)), None)

    def only_one(self, timeout: float) -> AbstractContextManager[bool]:
        """Hold the right to open it; without it (False) once another has opened it."""
        return only_one(self._lock_path, timeout=timeout, unless=lambda: accepts(self.path))

    def remove_stale(self) -> None:
        """Remove our socket, behind which nobody answers. Only while holding the right to open it."""
        with suppress(FileNotFoundError):
            Path(self.path).unlink()

    def _places(self) -> list[str]:
        users = self._host.resolved.control_path if self._slot == 0 else None
        return [path for path in (users, self.path) if path is not None]

    def _candidate(self) -> str | None:
        """Return the first socket that is there, whether or not anyone listens."""
        return next((path for path in self._places() if is_socket(path)), None)

    def _open(self) -> str:
        settings, digest = self._host.settings, self._host.resolved.digest
        began = time.time()
        self._proven = False
        ensure(self._host.folder)
        with self.only_one(_LOCK_TIMEOUT) as ours:
            if not ours:
                return self.path
            if found := self.listening():
                return found
            refusals.check(self.refusal_path, digest, settings.password, began)
            self.remove_stale()
            try:
                _log_in(self._host, self.path)
            except HostError as error:
                refusals.remember(self.refusal_path, error, digest, settings)
                raise
            return self.path


def resolve(settings: SSHSettings) -> config.Resolved:
    """Ask ssh what it makes of the settings.

    Raises:
        ConfigurationError: it does not accept them, or there is no ssh.
        CannotConnect: it takes too long.
    """
    argv = config.resolve_argv(settings)
    result = _run(argv, _RESOLVE_TIMEOUT)
    if result.returncode < 0:
        raise CannotConnect(
            f"ssh does not say how it reaches {settings.name} (waited {_RESOLVE_TIMEOUT:.0f} s).",
            hint="Does a `Match exec` of ~/.ssh/config, or the name server, hang?",
            command=argv,
        )
    if result.returncode != 0:
        raise ConfigurationError(
            f"ssh does not accept the settings for {settings.name}.",
            hint="Check the SSH connection's fields, extra_opts, and ~/.ssh/config.",
            command=argv,
            exit_code=result.returncode,
            log_tail=result.stderr,
        )
    return config.parse_resolved(result.stdout)


def _run(argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run an ssh that only talks to this machine."""
    counts.add()
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, -1, "", f"no answer in {timeout:.0f} s")
    except FileNotFoundError as error:
        raise ConfigurationError("There is no ssh on this machine.", hint="Install OpenSSH's client.") from error


def _log_in(host: Host, path: str) -> None:
    """Open the connection in the background, without a human.

    Raises:
        HostError: why it did not work.
    """
    settings, place = host.settings, host.place
    verdict, question = askpass.Reply.NONE, ""
    if settings.password is None:
        code, text = _attempt(host, path, askpass.unattended(), None)
    else:
        asked = askpass.Asked(settings.password, host.resolved.user, host.resolved.hostnames)
        with askpass.answering(asked, host.folder) as environment:
            code, text = _attempt(host, path, environment, asked.over)
        verdict, question = asked.verdict, asked.question
    if verdict is askpass.Reply.HUMAN:
        raise explain_question(place, question)
    if verdict is askpass.Reply.REFUSED:
        raise explain_login(place, code, f"{text}\n{question.strip()} (once more)\nPermission denied".strip())
    if code is None:
        raise CannotConnect(
            f"The login to {place.name} did not finish in {_timeout(settings):.0f} s.",
            hint=f"Try `{place.login}`, which shows what ssh says, or `ssh -v {place.host}`.",
            log_tail=text,
        )
    if code != 0 or not is_socket(path):
        raise explain_login(place, code, text)


def _timeout(settings: SSHSettings) -> float:
    hops = 0 if settings.jump_host is None else settings.jump_host.count(",") + 1
    return (1 + hops) * settings.connect_timeout + _LOGIN_TIMEOUT


def _attempt(
    host: Host, path: str, environment: dict[str, str], stop: threading.Event | None
) -> tuple[int | None, str]:
    """Run an ssh that goes to the background once it is logged in; return exit code (None: ended by us) and its words.

    What it inherits must not be a pipe of ours, which the process in the background would keep open: no stdin, no
    stdout, and files for its words and those of jump hosts.
    """
    counts.add(logins=1)
    end = time.monotonic() + _timeout(host.settings)
    with tempfile.TemporaryFile() as own, tempfile.NamedTemporaryFile(dir=host.folder, prefix="words-") as way:
        process = subprocess.Popen(
            config.master_argv(host.settings, host.resolved, path, way.name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=own,
            env={**environment, "SHELL": "/bin/sh"},  # runs the ProxyCommand
            start_new_session=True,
        )
        try:
            while process.poll() is None and time.monotonic() < end and not (stop and stop.is_set()):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STEP)
            code = process.poll()
        finally:
            _kill_group(process)
        own.seek(0)
        words = way.read() + own.read()
        return code, words.decode(errors="replace").replace("\r", "").strip()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End an attempt that is still going on, with its helpers (jump hosts, askpass)."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
