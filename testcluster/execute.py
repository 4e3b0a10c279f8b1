"""Running programs: failures carry what the program said."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ClusterError(RuntimeError):
    """The test cluster could not do what it was asked."""


def clean_environment(**extra: str) -> dict[str, str]:
    """An environment that owes nothing to the caller's shell."""
    return {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "HOME": "/", **extra}


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: str | None = None, timeout: float = 60
) -> str:
    """Standard output of a program that must succeed within `timeout` seconds."""
    try:
        done = subprocess.run(
            command,
            env=clean_environment() if env is None else env,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        output = f"{error.stdout}{error.stderr}".strip()[-2000:]
        msg = f"{' '.join(command)}: exit code {error.returncode}\n{output}"
        raise ClusterError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"{' '.join(command)}: not finished after {timeout:g} s"
        raise ClusterError(msg) from error
    except FileNotFoundError as error:
        msg = f"{command[0]}: no such program"
        raise ClusterError(msg) from error
    return done.stdout


def wait_for(what: str, condition: Callable[[], object], *, timeout: float, interval: float = 0.05) -> None:
    """Wait until `condition` returns anything but False, for at most `timeout` seconds; a failure is "not yet"."""
    deadline = time.monotonic() + timeout
    reason = ""
    while time.monotonic() < deadline:
        try:
            if condition() is not False:
                return
        except (ClusterError, OSError) as error:
            reason = f": {error}"
        time.sleep(interval)
    msg = f"{what}: not so after {timeout:g} s{reason}"
    raise ClusterError(msg)


def root_prefix() -> list[str]:
    """What makes a command run as root; empty if we are root."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]
