"""squeue's columns: `%i`, `%.18i`, `JobID:20`."""

from __future__ import annotations

from . import text
from .job import SHORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Job
    from .state import State

HEADERS = {
    "A": "JOBID",
    "B": "EXEC_HOST",
    "C": "CPUS",
    "D": "NODES",
    "E": "DEPENDENCY",
    "F": "ARRAY_JOB_ID",
    "K": "ARRAY_TASK_ID",
    "L": "TIME_LEFT",
    "M": "TIME",
    "N": "NODELIST",
    "P": "PARTITION",
    "Q": "PRIORITY",
    "R": "NODELIST(REASON)",
    "S": "START_TIME",
    "T": "STATE",
    "U": "UID",
    "V": "SUBMIT_TIME",
    "Y": "SCHEDNODES",
    "Z": "WORK_DIR",
    "a": "ACCOUNT",
    "b": "TRES_PER_NODE",
    "e": "END_TIME",
    "i": "JOBID",
    "j": "NAME",
    "k": "COMMENT",
    "l": "TIME_LIMIT",
    "m": "MIN_MEMORY",
    "o": "COMMAND",
    "p": "PRIORITY",
    "q": "QOS",
    "r": "REASON",
    "t": "ST",
    "u": "USER",
}
LONG = {
    "account": "a",
    "arrayjobid": "F",
    "arraytaskid": "K",
    "comment": "k",
    "endtime": "e",
    "jobarrayid": "i",
    "jobid": "A",
    "name": "j",
    "nodelist": "N",
    "numcpus": "C",
    "numnodes": "D",
    "partition": "P",
    "prioritylong": "Q",
    "qos": "q",
    "reason": "r",
    "reasonlist": "R",
    "starttime": "S",
    "state": "T",
    "statecompact": "t",
    "submittime": "V",
    "timelimit": "l",
    "timeused": "M",
    "username": "u",
    "userid": "U",
    "workdir": "Z",
}
TOP_PRIORITY = 4294901760
REASON_STATES = ("PENDING", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "FAILED")


class Piece:
    """Text before a column, its letter, its width (0: as it is), and whether it leans right."""

    def __init__(self, before: str, letter: str, width: int = 0, *, right: bool = False) -> None:
        self.before = before
        self.letter = letter
        self.width = width
        self.right = right

    def render(self, value: str) -> str:
        if self.width and self.right:
            value = value[: self.width].rjust(self.width)
        elif self.width:
            value = value[: self.width].ljust(self.width)
        return self.before + value


def parse(template: str) -> list[Piece]:
    pieces: list[Piece] = []
    before, *fields = template.split("%")
    for field in fields:
        right = field.startswith(".")
        digits = ""
        rest = field[1:] if right else field
        while rest[:1].isdigit():
            digits, rest = digits + rest[0], rest[1:]
        pieces.append(Piece(before, rest[:1], int(digits or 0), right=right))
        before = rest[1:]
    return [*pieces, Piece(before, "")]


def parse_long(template: str) -> list[Piece]:
    """`-O JobID:20,State:.10`: 20 characters unless told."""
    pieces: list[Piece] = []
    for word in template.split(","):
        name, _, width = word.partition(":")
        digits = "".join(character for character in width if character.isdigit())
        pieces.append(Piece("", LONG.get(name.lower(), ""), int(digits or 20), right=width.startswith(".")))
    return pieces


def header(pieces: list[Piece]) -> str:
    return "".join(piece.render(HEADERS.get(piece.letter, "")) for piece in pieces)


class Columns:
    def __init__(self, state: State, now: float) -> None:
        self._config = state.config
        self._now = now

    def word(self, job: Job) -> str:
        return job.shown_state(self._now, float(self._config["completing_time"]))

    def line(self, job: Job, pieces: list[Piece]) -> str:
        values = self.values(job)
        return "".join(piece.render(values.get(piece.letter, "")) for piece in pieces)

    def values(self, job: Job) -> dict[str, str]:
        word = self.word(job)
        nodes = job.node_list if job.start else ""
        priority = 0 if job.reason == "JobHeldUser" else TOP_PRIORITY - job.id
        return {
            **self._times(job),
            "A": str(job.id),
            "B": text.first_node(nodes) or "n/a",
            "C": str(job.ntasks * job.cpus),
            "D": str(job.nodes),
            "E": "(null)",
            "F": str(job.id),
            "K": "N/A",
            "N": nodes,
            "P": job.partition,
            "Q": str(priority),
            "R": f"({job.reason})" if word in REASON_STATES else nodes,
            "T": word,
            "U": str(job.uid),
            "Y": "(null)",
            "Z": job.workdir,
            "a": job.account or "(null)",
            "b": f"gres/{job.gres}" if job.gres else "N/A",
            "i": str(job.id),
            "j": job.name,
            "k": job.comment or "(null)",
            "m": text.memory(job.memory),
            "o": " ".join([job.command, *job.script_args]) if job.command else "(null)",
            "p": f"{priority / 2**32:.14f}",
            "q": job.qos,
            "r": job.reason,
            "t": SHORT.get(word, word),
            "u": job.user,
            "": "",
        }

    def _times(self, job: Job) -> dict[str, str]:
        until = self._now if job.state == "RUNNING" else job.end
        seconds = max(0, int(until) - int(job.start)) if job.start else 0
        limit = None if job.minutes is None else job.minutes * 60
        start = job.start
        if not start and job.state == "PENDING":
            planned = (job.begin_at or 0.0) if self._config["pending_start_known"] else 0.0
            start = planned if planned > self._now else 0.0
        start = start or job.end  # never started
        end = job.end or (start + limit if start and limit else 0.0)
        return {
            "L": "UNLIMITED" if limit is None else text.used(limit - seconds) if limit >= seconds else "INVALID",
            "M": text.used(seconds),
            "S": text.stamp(start, "N/A"),
            "V": text.stamp(job.submit, "N/A"),
            "e": text.stamp(end, "N/A"),
            "l": "UNLIMITED" if limit is None else text.used(limit),
        }
