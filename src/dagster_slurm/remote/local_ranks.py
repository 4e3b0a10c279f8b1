"""Starts a command several times on this machine, as ranks: what srun does on a cluster.

``python3 local_ranks.py N COMMAND...``: each line of output carries the rank; rank 0 alone speaks to Dagster; when a
rank fails the others are ended, and the first one is noted. Under torchrun N is 1, and the rank is torchrun's.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from typing import IO, Dict, List

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
#: seconds between TERM and KILL for ranks that are ended because of another
_GRACE = 5.0


class Rank:
    """One process, and what it writes."""

    def __init__(self, number: int, world: int, command: List[str]) -> None:
        environment = dict(os.environ)
        if "TORCHELASTIC_RUN_ID" in environment:
            number = int(environment["RANK"])
        else:
            environment.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(world), NODE_RANK="0")
            environment["LOCAL_WORLD_SIZE"] = str(world)
        muted = environment.pop("MUTED", None)
        if number and muted:
            environment["DAGSTER_PIPES_MESSAGES"] = muted
        self.number = number
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.streams: Dict[int, "IO[bytes]"] = {1: _pipe(self.process.stdout), 2: _pipe(self.process.stderr)}
        self._rest = {1: b"", 2: b""}

    def pump(self, target: int) -> bool:
        """Hand on what there is; False at the end."""
        data = os.read(self.streams[target].fileno(), 65536)
        lines = (self._rest[target] + data).split(b"\n")
        self._rest[target] = lines.pop()
        if not data and self._rest[target]:
            lines.append(self._rest[target])
        if lines:
            prefix = b"%d: " % self.number
            _write(target, b"".join(prefix + line + b"\n" for line in lines))
        return bool(data)


def _pipe(stream: "IO[bytes] | None") -> "IO[bytes]":
    assert stream is not None
    return stream


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def code_of(status: int) -> int:
    """Return the exit code as a shell says it."""
    return 128 - status if status < 0 else status


def note(rank: int, code: int) -> None:
    """Note who failed first."""
    text = "%d %s %d\n" % (rank, os.environ.get("SLURMD_NODENAME") or os.uname().nodename, code)
    try:
        with open(os.path.join(os.environ["RANKS_STATE"], "failed"), "x") as file:
            file.write(text)
    except (OSError, KeyError):
        pass  # another was faster


def main(count: int, command: List[str]) -> int:
    """Run the ranks to their end; return the exit code of the first that failed."""
    for number in _SIGNALS:  # the whole process group gets them: the ranks answer
        signal.signal(number, lambda _signal, _frame: None)
    try:
        ranks = [Rank(number, count, command) for number in range(count)]
    except OSError as error:
        sys.stderr.write("dagster-slurm: cannot start %s: %s\n" % (command[0], error.strerror))
        return 127 if isinstance(error, FileNotFoundError) else 126
    watched = selectors.DefaultSelector()
    for rank in ranks:
        for target, stream in rank.streams.items():
            watched.register(stream, selectors.EVENT_READ, (rank, target))
    return _until_all_ended(ranks, watched)


def _until_all_ended(ranks: List[Rank], watched: selectors.DefaultSelector) -> int:
    code, kill_at = 0, 0.0
    running = list(ranks)
    while running or watched.get_map():
        for key, _ in watched.select(0.1 if running else 1.0):
            rank, target = key.data
            if not rank.pump(target):
                watched.unregister(key.fileobj)
        for rank in [rank for rank in running if rank.process.poll() is not None]:
            running.remove(rank)
            if rank.process.returncode != 0 and code == 0:
                code = code_of(rank.process.returncode)
                note(rank.number, code)
                kill_at = time.monotonic() + _GRACE
                for other in running:
                    other.process.terminate()
        if kill_at and time.monotonic() > kill_at:
            for other in running:
                other.process.kill()
        if not running and not watched.select(0.2):
            break  # what a rank left behind may hold the pipe open for ever
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
