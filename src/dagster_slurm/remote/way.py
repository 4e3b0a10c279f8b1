"""Finds the dashboard of a job, on the login node, and the way to it: direct, by a jump to its node, or by a step.

The client's connections travel as frames (see :mod:`.relay`). A dashboard that listens on its node's loopback is
reached by a relay there: ``ssh`` from here to the node, where the site lets us, else a step of the job.
"""

import contextlib
import glob
import ipaddress
import json
import os
import platform
import re
import select
import subprocess
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional

from . import frames, relay
from .commands import CommandMissing, Commands

_TIMEOUT = 20.0
#: seconds for a relay to begin: Slurm may be slow to start a step
_BEGIN = 30.0
_SENTINEL = b"=dagster-slurm=" + b"agent=\n"

Board = NamedTuple("Board", [("node", str), ("host", str), ("port", int), ("folder", str)])
"""Where a dashboard listens, and the folder of its cluster in the run directory."""


class NoWay(Exception):
    """Why there is none, in one sentence."""


def main(options: Dict[str, Any], tty: bool) -> None:
    """Find the way and keep it open until the input ends."""
    commands = Commands(dict(os.environ))
    try:
        job, directory = _running(str(options["job"]), commands)
        board = find(directory)
        relay.write(1, frames.encode(dict(board._asdict(), token=token(board)), tty=tty))
        if board.node == platform.node():
            relay.Relay(board.host, board.port, tty).run(frames.Decoder(tty))
            return
        if not _is_loopback(board.host):
            host = board.node if _is_anywhere(board.host) else board.host
            relay.Relay(_address(host, commands), board.port, tty).run(frames.Decoder(tty))
            return
        child = _relay_at(board, job, options, commands)
    except (NoWay, CommandMissing, OSError) as error:
        text = "there is no %s here" % error if isinstance(error, CommandMissing) else str(error)
        relay.write(1, frames.encode({"fault": text}, tty=tty))
        return
    _carry(child, board, tty)


def _running(job: str, commands: Commands) -> List[str]:
    """Return the id of a running job and its run directory; an absolute path is one already."""
    if job.startswith("/"):
        with open(os.path.join(job, "job.id")) as file:
            return [str(json.load(file)["id"]), job]
    if not re.match(r"\d+([_+]\d+)?$", job):
        raise NoWay("%r is neither a job id nor a run directory" % job)
    done = commands.run(["squeue", "--noheader", "--states=all", "--jobs", job, "--format=%T|%Z"], _TIMEOUT)
    state, _, directory = done.out.strip().partition("\n")[0].partition("|")
    if not state:
        raise NoWay("Slurm knows no job %s any more: %s" % (job, done.err.strip() or "it has ended"))
    if state != "RUNNING":
        raise NoWay("job %s is %s: its dashboard is there while it runs" % (job, state))
    return [job, directory]


def find(directory: str) -> Board:
    """Return the dashboard of a run.

    Raises:
        NoWay: it has none.
    """
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.[0-9]*", "dashboard")), reverse=True):
        with open(path) as file:
            words = file.read().split()
        if len(words) == 3:
            return Board(words[0], words[1], int(words[2]), os.path.dirname(path))
    raise NoWay(
        "the run in %s has no dashboard, or not yet: RayLauncher(dashboard=True) starts Ray's, "
        "Spark's master always has one" % directory
    )


def token(board: Board) -> str:
    """Return what Ray's dashboard asks for; empty: nothing."""
    try:
        with open(os.path.join(board.folder, "secret")) as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _is_anywhere(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def _address(host: str, commands: Commands) -> str:
    """Return what Slurm knows as a node's address: its name need not be in the name service."""
    done = commands.run(["scontrol", "show", "node", "-o", host], _TIMEOUT)
    return next((word[9:] for word in done.out.split() if word.startswith("NodeAddr=")), host)


def _relay_at(board: Board, job: str, options: Dict[str, Any], commands: Commands) -> "subprocess.Popen[bytes]":
    jump = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=4", "--", board.node, options["shell"]]
    step = ["srun", "--jobid=" + job, "--overlap", "--nodes=1", "--ntasks=1", "--nodelist=" + board.node]
    step += ["--gres=none", "--quiet", "--unbuffered", *options["argv"]]
    said = ""
    for argv in (jump, step):
        path = commands.find(argv[0]) if argv[0] == "srun" else argv[0]
        child = subprocess.Popen(
            [path, *argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        if _began(child):
            assert child.stdin is not None
            relay.write(child.stdin.fileno(), options["program"].encode())
            return child
        child.kill()
        _, err = child.communicate()
        said += "; " * bool(said) + "%s: %s" % (argv[0], err.decode("utf-8", "replace").strip()[-300:] or "no answer")
    raise NoWay("no way to %s was found (%s)" % (board.node, said))


def _began(child: "subprocess.Popen[bytes]") -> bool:
    """Whether the bootstrap is there; what a login shell prints before it goes."""
    assert child.stdout is not None
    seen, deadline = b"", time.monotonic() + _BEGIN
    while not seen.endswith(_SENTINEL):
        readable, _, _ = select.select([child.stdout], [], [], max(deadline - time.monotonic(), 0))
        data = os.read(child.stdout.fileno(), 1) if readable else b""
        if not data:
            return False
        seen = seen[-4096:] + data
    return True


def _carry(child: "subprocess.Popen[bytes]", board: Board, tty: bool) -> None:
    """Hand frames on, both ways, until one side ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    there, here = child.stdin.fileno(), child.stdout.fileno()
    relay.write(there, frames.encode({"host": board.host, "port": board.port}))
    # ends with us
    threading.Thread(target=_copy, args=(0, frames.Decoder(tty), there, False, child), daemon=True).start()
    _copy(here, frames.Decoder(), 1, tty, None)
    child.wait()


def _copy(
    source: int, decoder: frames.Decoder, target: int, tty: bool, child: "Optional[subprocess.Popen[bytes]]"
) -> None:
    with contextlib.suppress(OSError, frames.FrameError):
        while True:
            data = os.read(source, 1 << 16)
            if not data:
                break
            for head, body in decoder.feed(data):
                relay.write(target, frames.encode(head, body, tty))
    if child is not None:
        child.terminate()
