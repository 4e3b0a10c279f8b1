"""Start of every command: log the call, let the general faults happen, run it."""

from __future__ import annotations

import os
import sys
import time

from . import faults
from .options import UsageError
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION_OPTIONS = ("--version", "-V")


def main(command: str, directory: str, argv: list[str]) -> int:
    state = State(directory)
    if command == "supervise":
        from .supervise import supervise  # noqa: PLC0415

        return supervise(state, int(argv[0]))
    state.log_call(command, argv)
    hits = faults.take(state, command)
    _banner(hits)
    if "hang" in hits:
        time.sleep(hits["hang"]["for_seconds"])
    if "fail" in hits:
        sys.stderr.write(hits["fail"]["stderr"])
        sys.stdout.write(hits["fail"]["stdout"])
        return int(hits["fail"]["rc"])
    return _run(command, state, argv, hits)


def _run(command: str, state: State, argv: list[str], hits: dict[str, Any]) -> int:
    if argv and argv[0] in VERSION_OPTIONS:
        print(f"{state.config['package']} {state.config['version']}")
        return 0
    module = __import__(f"{__package__}.{command}", fromlist=["run"])
    try:
        code: int = module.run(state, argv, hits)
        sys.stdout.flush()
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    return code


def _banner(hits: dict[str, Any]) -> None:
    banner = hits.get("banner")
    if banner:
        sys.stdout.write(banner["stdout"])
        sys.stdout.flush()
        sys.stderr.write(banner["stderr"])
