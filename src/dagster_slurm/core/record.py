"""The job's own record: what ``job.sh`` and the meter wrote into ``record.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(frozen=True)
class Start:
    """The job script began.

    Args:
        job: the id of the job that won the claim.
        restart: how often Slurm started it anew.
        time: seconds since the epoch, by the node's clock.
        node: the node where the script runs.
        nodes: all nodes, as Slurm writes lists of them.
        count: how many nodes.
        cluster: its name.
        partition: its name.
        cpus: CPUs on this node.
        gpus: GPUs on this node.
        mem: memory limit per node in MiB; 0 if the job asked in another way.
    """

    job: str
    restart: int
    time: float
    node: str = ""
    nodes: str = ""
    count: int = 1
    cluster: str = ""
    partition: str = ""
    cpus: int = 0
    gpus: int = 0
    mem: int = 0


@dataclass(frozen=True)
class Usage:
    """What the payload used: peak memory of its largest process (KiB), CPU time (s), the signal that ended it."""

    restart: int
    peak_kib: int
    cpu: float
    signal: int = 0


@dataclass(frozen=True)
class Exit:
    """The job script ended.

    Args:
        restart: which start it belongs to.
        code: exit code as a shell sees it.
        signalled: a signal was forwarded to the payload, or ended it.
        signals: the signals that were forwarded, in order.
        phase: ``payload``, or what kept it from starting.
        text: more about the phase.
        time: seconds since the epoch, by the node's clock.
        sizes: bytes of ``stdout``, ``stderr`` and ``messages`` when it ended.
    """

    restart: int
    code: int
    signalled: bool
    time: float
    signals: tuple[str, ...] = ()
    phase: str = "payload"
    text: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Note:
    """What the launcher says of its work.

    Args:
        restart: which start it belongs to.
        fault: what went wrong, for people; empty where nothing did.
        stopped: why the job itself ended this component, for people; empty where it did not.
        cause: the cause that goes with it: ``stopped`` or ``time_limit``.
        facts: figures for metadata.
    """

    restart: int
    fault: str = ""
    stopped: str = ""
    cause: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict[str, "str | int | float"])


@dataclass(frozen=True)
class Output:
    """A result as it was put in place.

    Args:
        path: its folder.
        name: the same, below the data folder.
        files: how many files; 0: the payload wrote nothing, and what lies there is from before.
        size: their bytes.
        inode: of the folder: another one means that it was replaced since.
    """

    path: str
    name: str
    files: int
    size: int
    inode: int


@dataclass(frozen=True)
class Samples:
    """What the payload and its children used over time, on the first node.

    Args:
        restart: which start it belongs to.
        seconds: since the payload began.
        cpu: CPU seconds until then.
        mib: memory at that moment, in MiB.
    """

    restart: int
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    mib: tuple[float, ...]


@dataclass(frozen=True)
class Record:
    """All complete lines of a record."""

    starts: tuple[Start, ...] = ()
    usages: tuple[Usage, ...] = ()
    exits: tuple[Exit, ...] = ()
    notes: tuple[Note, ...] = ()
    #: the allocations of sessions that have said that they have it
    queued: tuple[str, ...] = ()
    results: tuple[tuple[int, tuple[Output, ...]], ...] = ()
    sampled: tuple[Samples, ...] = ()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The results that the latest start put in place."""
        return next((outputs for restart, outputs in reversed(self.results) if restart == self.restart), ())

    @property
    def samples(self) -> Samples | None:
        """What the latest start used over time, if that was measured."""
        return next((item for item in reversed(self.sampled) if item.restart == self.restart), None)

    @property
    def start(self) -> Start | None:
        """The latest start."""
        return self.starts[-1] if self.starts else None

    @property
    def restart(self) -> int:
        """How often Slurm started the job anew."""
        return self.starts[-1].restart if self.starts else 0

    @property
    def exit(self) -> Exit | None:
        """The exit of the latest start, if it has one."""
        return next((item for item in reversed(self.exits) if item.restart == self.restart), None)

    @property
    def usage(self) -> Usage | None:
        """What the latest start used, if that was measured."""
        return next((item for item in reversed(self.usages) if item.restart == self.restart), None)

    @property
    def fault(self) -> str:
        """What the launcher of the latest start says went wrong first."""
        return next((note.fault for note in self.notes if note.restart == self.restart and note.fault), "")

    @property
    def stopped(self) -> Note | None:
        """What the job said when it ended this component, or did not let it begin."""
        return next((note for note in self.notes if note.stopped and note.restart >= self.restart), None)

    @property
    def facts(self) -> Mapping[str, str | int | float]:
        """What the launcher of the latest start says of its work."""
        found: dict[str, str | int | float] = {}
        for note in self.notes:
            if note.restart == self.restart:
                found.update(note.facts)
        return found


def parse(text: str) -> Record:
    """Return the record that a text holds; a line that is incomplete or damaged does not count."""
    starts: list[Start] = []
    usages: list[Usage] = []
    exits: list[Exit] = []
    notes: list[Note] = []
    results: list[tuple[int, tuple[Output, ...]]] = []
    queued: list[str] = []
    sampled: list[Samples] = []
    others: dict[str, Callable[[dict[str, Any]], None]] = {
        "samples": lambda item: sampled.append(_samples(item)),
        "note": lambda item: notes.append(_note(item)),
        "result": lambda item: results.append(_result(item)),
        "queued": lambda item: queued.append(str(item["job"])),
    }
    for line in text.split("\n")[:-1]:
        try:
            item = cast("dict[str, Any]", json.loads(line))
            kind = item["event"]
            if kind == "start":
                starts.append(_start(item))
            elif kind == "usage":
                usages.append(
                    Usage(int(item["restart"]), int(item["peak_kib"]), float(item["cpu"]), int(item["signal"]))
                )
            elif kind == "exit":
                exits.append(_exit(item))
                # a start on a node that only seemed lost may end after the next one has begun
                latest = starts[-1].restart if starts else exits[-1].restart
                if not exits[-1].signalled and exits[-1].restart >= latest:
                    break  # final: whatever is started after it is not this run
            elif kind in others:
                others[kind](item)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue
    return Record(
        starts=tuple(starts),
        usages=tuple(usages),
        exits=tuple(exits),
        notes=tuple(notes),
        queued=tuple(queued),
        results=tuple(results),
        sampled=tuple(sampled),
    )


def _start(item: dict[str, Any]) -> Start:
    return Start(
        job=str(item["job"]),
        restart=int(item["restart"]),
        time=float(item["time"]),
        node=str(item.get("node", "")),
        nodes=str(item.get("nodes", "")),
        count=int(item.get("count", 1)),
        cluster=str(item.get("cluster", "")),
        partition=str(item.get("partition", "")),
        cpus=int(item.get("cpus", 0)),
        gpus=int(item.get("gpus", 0)),
        mem=int(item.get("mem", 0)),
    )


def _samples(item: dict[str, Any]) -> Samples:
    columns = [tuple(float(value) for value in item[name]) for name in ("seconds", "cpu", "mib")]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("the columns differ in length")
    return Samples(int(item["restart"]), *columns)


def _note(item: dict[str, Any]) -> Note:
    facts = {str(name): value for name, value in item.get("facts", {}).items() if isinstance(value, (str, int, float))}
    texts = [str(item.get(name) or "") for name in ("fault", "stopped", "cause")]
    return Note(int(item["restart"]), texts[0], texts[1], texts[2], facts)


def _result(item: dict[str, Any]) -> tuple[int, tuple[Output, ...]]:
    return int(item["restart"]), tuple(_output(output) for output in item["outputs"])


def _output(item: dict[str, Any]) -> Output:
    return Output(
        str(item["path"]), str(item["name"]), int(item["files"]), int(item["bytes"]), int(item.get("inode", 0))
    )


def _exit(item: dict[str, Any]) -> Exit:
    return Exit(
        restart=int(item["restart"]),
        code=int(item["code"]),
        signalled=bool(item["signalled"]),
        time=float(item["time"]),
        signals=tuple(str(item.get("signals", "")).split()),
        phase=str(item.get("phase", "payload")),
        text=str(item.get("text") or ""),
        sizes={str(name): int(size) for name, size in item.get("sizes", {}).items()},
    )
