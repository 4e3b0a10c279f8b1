"""The units of work of a session: those that wait, in order, and those that run, each as a step of the allocation.

Slurm is the ledger: ``srun --exact`` waits until what a unit asks for is free. At most one srun waits, so that the
order is kept and the controller is not asked by many at once.
"""

import json
import os
import re
import subprocess
import time
from typing import Any, Dict, List, Optional, Set

from . import rundir
from .session_steps import end_steps
from .session_words import refusal, srun

#: starts of steps in a second at most: each costs the controller something
STARTS_PER_SECOND = 5
_MARK = b"=unit= "
_CLEAN = re.compile(r'"event":"exit".*"signalled":false')
#: how often a start is tried that the controller did not answer
_TRIES = 5
#: seconds between two starts of a unit that needs memory that others have
_LONGEST_PAUSE = 2.0


class Unit:
    """One unit of work: a run directory, and what it asks for."""

    def __init__(self, item: Dict[str, Any]) -> None:
        self.directory = str(item["dir"])
        self.flags: Dict[str, Any] = item["flags"]
        self.step = ""
        #: where its script runs
        self.node = ""
        self.nodes: Set[str] = set()
        self.excluded: List[str] = []
        self.tries = 0
        self.not_before = 0.0
        self.since = 0.0
        #: how much srun said in starts before this one
        self.said = 0
        #: it keeps a cluster, and is no work by itself
        self.background = "cluster" in self.flags
        #: the run directory of the cluster that it uses, beside which it runs
        self.beside = str(self.flags.get("beside") or "")
        self.process: "Optional[subprocess.Popen[bytes]]" = None
        self.rest = b""

    def file(self, name: str) -> str:
        """Return the path of a file in its directory."""
        return os.path.join(self.directory, name)

    def claimed(self) -> bool:
        """Whether it has begun somewhere, or was cancelled."""
        return bool(rundir.read_text(self.file(rundir.CLAIM)))

    def ended(self) -> bool:
        """Whether its record says how it ended."""
        return '"event":"exit"' in rundir.read_text(self.file(rundir.RECORD))

    def ended_by_itself(self) -> bool:
        """Whether its record says that nobody ended it."""
        return bool(_CLEAN.search(rundir.read_text(self.file(rundir.RECORD))))

    def write(self, event: str, **fields: Any) -> None:
        """Append a line to its record."""
        item = dict(fields, event=event, restart=0, time=round(time.time(), 3))
        names = ["event", "job", *sorted(name for name in item if name not in ("event", "job"))]
        text = json.dumps({name: item[name] for name in names if name in item}, separators=(",", ":"))
        with open(self.file(rundir.RECORD), "ab", 0) as file:
            file.write(text.encode() + b"\n")

    def read(self) -> None:
        """Take in what srun hands on: who runs where, for us; anything else for the log."""
        if self.process is None or self.process.stdout is None:
            return
        try:
            data = os.read(self.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            if line.startswith(_MARK):
                self.step, node, task = line[len(_MARK) :].decode().split()
                self.nodes.add(node)
                self.node = node if task == "0" else self.node
            else:
                self._log(line + b"\n")

    def release(self) -> None:
        """Let the tasks go that only keep their nodes."""
        if self.process is not None and self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()

    def log(self) -> str:
        """Return the end of what srun said since the last start."""
        return rundir.read_text(self.file("slurm.log"))[self.said :][-4000:]

    def _log(self, data: bytes) -> None:
        with open(self.file("slurm.log"), "ab", 0) as file:
            file.write(data)


class Units:
    """All units of a session.

    Args:
        job: the allocation.
        script: path of ``unit.sh``.
        share: MiB that go with each CPU.
        largest: MiB that the allocation has on a node.
        most: how many may run at once; None: as many as fit.
        environment: what steps start with.
    """

    def __init__(
        self, job: str, script: str, *, share: int, largest: int, most: Optional[int], environment: Dict[str, str]
    ) -> None:
        self._job = job
        self._script = script
        self._share = share
        self._largest = largest
        self._most = most
        self._environment = environment
        self._starts: List[float] = []
        self._known: Set[str] = set()
        self._broken: List[str] = []
        self.waiting: List[Unit] = []
        self.running: List[Unit] = []
        #: the allocation takes no more steps
        self.over = False

    def take(self, item: Dict[str, Any]) -> None:
        """Take a unit on, once; say so in its record each time that somebody asks."""
        unit = Unit(item)
        if unit.directory not in self._known:
            if unit.claimed():
                return
            self._known.add(unit.directory)
            self.waiting.append(unit)
        unit.write("queued", job=self._job)

    def drop(self, directory: str) -> None:
        """Let a unit go that was cancelled before it began."""
        for unit in [unit for unit in self.waiting if unit.directory == directory]:
            self.waiting.remove(unit)
        for unit in self.running:
            if unit.directory == directory and not unit.step and unit.process is not None:
                unit.process.terminate()

    def streams(self) -> List[int]:
        """Return what to listen to."""
        return [unit.process.stdout.fileno() for unit in self.running if unit.process and unit.process.stdout]

    def working(self) -> List[Unit]:
        """Return the work that runs."""
        return [unit for unit in self.running if not unit.background]

    def wanted(self) -> List[Unit]:
        """Return the work that waits."""
        return [unit for unit in self.waiting if not unit.background]

    def busy_nodes(self) -> int:
        """Return how many nodes have work; those of a cluster are at work for whoever uses it."""
        used = {unit.beside for unit in self.running}
        at_work = [unit for unit in self.running if not unit.background or unit.directory in used]
        return len({node for unit in at_work for node in unit.nodes})

    def stuck_since(self, now: float) -> float:
        """Return for how many seconds a unit has waited for what others have."""
        blocked = [unit for unit in self.running if not unit.step] + [unit for unit in self.waiting if unit.since]
        return max((now - unit.since for unit in blocked if not unit.beside), default=0.0)

    def ready(self, now: float) -> Optional[Unit]:
        """Return the unit that may be started now."""
        if self.over or (len(self._starts) == STARTS_PER_SECOND and now - self._starts[0] < 1.0):
            return None
        full = self._most is not None and len(self.working()) >= self._most
        # one that uses a cluster takes nothing that others could wait for, and so waits for nobody
        for unit in self.waiting:
            if unit.beside and not full and unit.not_before <= now and self._can_be_beside(unit):
                return unit
        first = next((unit for unit in self.waiting if not unit.beside), None)
        if first is None or first.not_before > now or (full and not first.background):
            return None
        return None if any(not unit.step for unit in self.running if not unit.beside) else first

    def _can_be_beside(self, unit: Unit) -> bool:
        """Whether its cluster runs, or (which it will say itself) is gone."""
        for other in self.running + self.waiting:
            if other.directory == unit.beside:
                return bool(other.node)
        return True

    def start(self, unit: Unit, now: float, facts: Dict[str, Any]) -> None:
        """Start a unit as a step, unless it has begun elsewhere or was cancelled."""
        self.waiting.remove(unit)
        if unit.claimed():
            return
        unit.write("note", facts=facts)
        memory = self._memory(unit)
        node = next((other.node for other in self.running if other.directory == unit.beside), "")
        argv = srun(self._job, unit.flags, memory, sorted({*unit.excluded, *self._broken}), node)
        unit.since = unit.since or now
        unit.said = len(rundir.read_text(unit.file("slurm.log")))
        with open(unit.file("slurm.log"), "ab") as log:
            unit.process = subprocess.Popen(
                [*argv, "bash", self._script, unit.directory, unit.flags["gres"]],
                stdin=subprocess.PIPE if int(unit.flags["nodes"]) > 1 else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=unit.directory,
                env=dict(self._environment, SLURM_MEM_PER_NODE=str(memory)),
                start_new_session=True,  # TERM to srun would kill its step at once
            )
        if unit.process.stdout is not None:
            os.set_blocking(unit.process.stdout.fileno(), False)
        self.running.append(unit)
        self._starts = [*self._starts, now][-STARTS_PER_SECOND:]

    def listen(self, now: float) -> None:
        """Take in what happened to those that run."""
        for unit in list(self.running):
            unit.read()
            code = unit.process.poll() if unit.process is not None else None
            if code is not None:
                unit.read()
                self.running.remove(unit)
                self._ended(unit, code, now)
            elif len(unit.nodes) > 1 and unit.ended():
                unit.release()

    def _ended(self, unit: Unit, code: int, now: float) -> None:
        unit.release()
        if unit.process is not None and unit.process.stdout is not None:
            unit.process.stdout.close()
        if unit.claimed():
            if rundir.read_text(unit.file(rundir.CLAIM)).strip() == unit.step and not unit.ended():
                self._speak_for(unit, code)
            if unit.step and not unit.ended_by_itself():
                end_steps(unit.directory, self._job)
            return
        why = refusal(unit.log())
        if why.kind == "over":
            self.over = True  # its client hands it to the next session
        elif why.kind == "busy" and self._memory(unit) <= self._largest:
            unit.not_before = now + min((now - unit.since) / 4 + 0.2, _LONGEST_PAUSE)
            self.waiting.insert(0, unit)
        elif why.kind in ("again", "node") and unit.tries < _TRIES:
            unit.tries += 1
            unit.not_before = now + 0.2 * 2**unit.tries
            unit.excluded += [why.node] if why.node else []
            self._broken += [why.node] if why.node and why.node not in self._broken else []
            self.waiting.insert(0, unit)
        else:
            rundir.claim(unit.directory, self._job)
            if unit.background:  # whoever waits for the cluster reads that
                unit.write("note", fault=why.text)
            self._write_end(unit, code if code > 0 else 1, False, "session", why.text)

    def _memory(self, unit: Unit) -> int:
        return int(unit.flags.get("mem") or self._share * int(unit.flags["cpus"]))

    def _speak_for(self, unit: Unit, code: int) -> None:
        """The job script was killed and could not say how it ended: srun knows."""
        self._write_end(unit, code if code >= 0 else 128 - code, True, "payload", "")

    @staticmethod
    def _write_end(unit: Unit, code: int, signalled: bool, phase: str, text: str) -> None:
        sizes: Dict[str, int] = {}
        for name, file in (("stdout", "stdout.0"), ("stderr", "stderr.0"), ("messages", "messages.0.jsonl")):
            path = unit.file(file)
            sizes[name] = os.path.getsize(path) if os.path.exists(path) else 0
        unit.write("exit", code=code, signalled=signalled, signals="", phase=phase, text=text, sizes=sizes)
