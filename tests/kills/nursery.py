"""A process whose children are clients: it has imported all that they need, so that they begin within milliseconds.

Reads lines of JSON (number, errand, file for the answer), and writes lines (number, exit status).
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conformance.worker import Task
from tests.kills.client import Errand, run


def serve() -> None:
    children: dict[int, int] = {}
    buffer, ended = b"", False
    while not ended or children:
        readable, _, _ = select.select([] if ended else [0], [], [], 0.02)
        if readable:
            data = os.read(0, 65536)
            ended = not data
            for pid in children if ended else ():
                os.kill(pid, signal.SIGKILL)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    be(asked)
                children[pid] = asked["number"]
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            os.write(1, b"%d %d\n" % (children.pop(pid), os.waitstatus_to_exitcode(status)))


def be(asked: dict[str, Any]) -> None:
    """Be a client, and end."""
    for descriptor, path in ((0, os.devnull), (1, os.devnull), (2, asked["out"] + ".err")):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
    code = 1
    try:
        fields = asked["errand"]
        answer = run(Errand(**{**fields, "task": Task(**fields["task"])}))
        Path(asked["out"]).write_text(json.dumps(answer))
        code = 0
    except BaseException:  # noqa: BLE001 - the test shows it
        Path(asked["out"] + ".trace").write_text(traceback.format_exc())
    finally:
        os._exit(code)


class Nursery:
    """The test's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[threading.Event, list[int]]] = {}
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        threading.Thread(target=self._read, daemon=True).start()

    def run(self, errand: Errand, timeout: float = 240.0) -> tuple[int, dict[str, Any]]:
        """Let a client do an errand; return its exit code (negative: the signal that killed it) and its answer.

        Raises:
            AssertionError: it failed otherwise than by SIGKILL.
        """
        done: threading.Event = threading.Event()
        code: list[int] = []
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = (done, code)
            out = self._folder / f"client.{number}"
            line = json.dumps({"number": number, "errand": asdict(errand), "out": str(out)})
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
        assert done.wait(timeout), f"a client is not over after {timeout} s: {errand}"
        if code[0] == 0:
            return 0, json.loads(out.read_text())
        said = "".join(path.read_text() for path in self._folder.glob(f"{out.name}.*"))
        assert code[0] == -9, f"{code[0]}: {said}"
        return code[0], {}

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, status = map(int, line.split())
            with self._lock:
                done, code = self._waiting.pop(number)
            code.append(status)
            done.set()


def plain(errand: Errand) -> Errand:
    """The same errand, of one who is not killed."""
    return dataclasses.replace(
        errand, point="", frame=None, moment=None, agent="", with_agent=False, marker="", delay=0.0
    )


if __name__ == "__main__":
    serve()
