"""A job and what can happen to it: no I/O here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACTIVE = ("PENDING", "RUNNING", "SUSPENDED")
SHORT = {
    "PENDING": "PD",
    "RUNNING": "R",
    "SUSPENDED": "S",
    "COMPLETED": "CD",
    "CANCELLED": "CA",
    "FAILED": "F",
    "TIMEOUT": "TO",
    "NODE_FAIL": "NF",
    "PREEMPTED": "PR",
    "BOOT_FAIL": "BF",
    "DEADLINE": "DL",
    "OUT_OF_MEMORY": "OOM",
    "COMPLETING": "CG",
    "CONFIGURING": "CF",
    "RESIZING": "RS",
    "RESV_DEL_HOLD": "RD",
    "REQUEUED": "RQ",
    "REQUEUE_FED": "RF",
    "REQUEUE_HOLD": "RH",
    "REVOKED": "RV",
    "SIGNALING": "SI",
    "SPECIAL_EXIT": "SE",
    "STAGE_OUT": "SO",
    "STOPPED": "ST",
}
OOM_SIGNAL = 125
# what lag makes visible late
CHANGING = ("state", "reason", "start", "end", "exit", "derived", "restarts", "alive", "batch", "earlier", "killed_by")


class Job:
    """The record of one job, as Slurm's controller and database would hold it together."""

    id: int = 0
    name: str = ""
    user: str = ""
    uid: int = 0
    group: str = ""
    gid: int = 0
    partition: str = ""
    account: str = ""
    qos: str = "normal"
    comment: str = ""
    workdir: str = "/"
    submit_directory: str = "/"
    command: str = ""
    output: str = ""
    error: str = ""
    open_mode: str = "w"
    requeue: bool = True
    minutes: float | None = None  # the time limit
    warn_signal: int = 0
    warn_seconds: float = 0.0
    warn_batch: bool = False
    nodes: int = 1
    node_list: str = ""
    ntasks: int = 1
    cpus: int = 1  # per task
    memory: int = 0  # MiB per node
    gres: str = ""

    submit: float = 0.0
    eligible: float = 0.0
    begin_at: float | None = 0.0  # when it may start; None: not before it is released
    start: float = 0.0
    end: float = 0.0
    state: str = "PENDING"
    reason: str = "None"
    restarts: int = 0
    runs: int = 0  # how often the script was started, duplicates included
    killed_by: int | None = None
    out_of_memory: bool = False
    alive: bool = False  # processes exist
    visible_at: float = 0.0
    purged: bool = False
    supervisor: int = 0
    shell: int = 0  # pid of the batch shell
    mask_state: str = ""
    mask_until: float = 0.0

    def __init__(self, **fields: Any) -> None:
        self.script_args: list[str] = []
        self.asked: list[str] = []  # options that were given (see accept.ASKED)
        self.exit: list[int] = [0, 0]  # code, signal
        self.last_exit: list[int] = [0, 0]  # the controller's word for a killed job, when accounting says 0:0
        self.derived: list[int] = [0, 0]
        self.batch: dict[str, Any] = {}  # the batch step of this run
        self.steps: list[dict[str, Any]] = []
        self.earlier: list[dict[str, Any]] = []  # records of runs before a requeue
        self.history: list[dict[str, Any]] = []
        self.__dict__.update(fields)

    @property
    def terminal(self) -> bool:
        return self.state not in ACTIVE

    def last_run(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Batch step and other steps of the run whose processes exist, which may be sent back already."""
        if self.state == "PENDING" and self.earlier:
            return self.earlier[-1]["batch"], self.earlier[-1]["steps"]
        return self.batch, self.steps

    # -- what happens

    def started(self, now: float, shell: int) -> None:
        self.state, self.reason, self.start, self.end = "RUNNING", "None", now, 0.0
        self.alive, self.shell, self.runs = True, shell, self.runs + 1
        self.batch = {"state": "RUNNING", "start": now, "end": 0.0, "exit": [0, 0], "rss": 0, "cpu": 0.0}

    def ended(self, now: float, code: int, signal: int, rss: int = 0, cpu: float = 0.0) -> None:
        """The batch script is over and its processes are gone."""
        self.alive, self.shell = False, 0
        own_end = self.state == "RUNNING"
        if own_end and self.out_of_memory:
            code, signal = 0, OOM_SIGNAL
        if self.state != "PENDING":
            self.last_exit = [code, signal]
        batch, steps = self.last_run()
        for step in steps:
            if not step["end"]:  # its srun was killed with the job
                step.update(end=now, exit=[0, 15], state="CANCELLED")
        if own_end:
            self.end = now
            self.exit = [code, signal]
            self.derived = max([self.derived, *(step["exit"] for step in self.steps)])
            self.state, self.reason = _natural_end(code, signal)
        batch.update(rss=rss, cpu=cpu, end=now, exit=[code, signal], state=step_end(code, signal))

    def killed(self, now: float, state: str, *, reason: str = "", by: int | None = None) -> None:
        """Slurm ends the job; its processes may live on for a while. A pending job keeps its reason."""
        self.reason = reason or ("None" if self.start else self.reason)
        self.state, self.end, self.killed_by = state, now, by

    def sent_back(self, now: float, state: str, *, begin_at: float | None) -> None:
        """Requeued: the same id starts again. `state` is what accounting says of the run that ended."""
        fields = ("start", "submit", "exit", "derived", "batch", "steps", "restarts")
        self.earlier.append({**{name: self.__dict__.get(name) for name in fields}, "state": state, "end": now})
        self.state, self.begin_at = "PENDING", begin_at
        self.reason = "BeginTime" if begin_at is None or begin_at > now else "None"
        self.submit = self.eligible = now
        self.start = self.end = 0.0
        self.exit, self.last_exit, self.derived = [0, 0], [0, 0], [0, 0]
        self.batch, self.steps, self.out_of_memory = {}, [], False
        self.killed_by = None
        self.restarts += 1

    # -- how it looks

    def remember(self, now: float) -> None:
        """Keep what changed, so that lag can show an old state."""
        snapshot = {name: getattr(self, name) for name in CHANGING}
        if not self.history or any(self.history[-1][name] != snapshot[name] for name in CHANGING):
            self.history.append({"at": now, **snapshot})

    def as_of(self, moment: float) -> Job | None:
        """The job as it was at a moment; None before it could be seen."""
        past = [entry for entry in self.history if entry["at"] <= moment]
        if moment < self.visible_at or not past:
            return None
        fields = {name: value for name, value in past[-1].items() if name != "at"}
        return Job(**{**self.__dict__, **fields})

    def shown_state(self, now: float, completing_time: float) -> str:
        """The word that squeue prints."""
        if self.mask_state and now < self.mask_until:
            return self.mask_state
        if self.state != "RUNNING" and self.alive:
            return "COMPLETING"
        stopped = self.earlier[-1]["end"] if self.state == "PENDING" and self.earlier else self.end
        if self.state != "RUNNING" and (self.batch or self.earlier) and now < stopped + completing_time:
            return "COMPLETING"
        return self.state


def _natural_end(code: int, signal: int) -> tuple[str, str]:
    if signal == OOM_SIGNAL:
        return "OUT_OF_MEMORY", "OutOfMemory"
    if signal:
        return "FAILED", "JobLaunchFailure"  # 24.11 says RaisedSignal:9(Killed)
    return ("FAILED", "NonZeroExitCode") if code else ("COMPLETED", "None")


def step_end(code: int, signal: int) -> str:
    """How accounting calls the end of a step."""
    if signal == OOM_SIGNAL:
        return "OUT_OF_MEMORY"
    if signal:
        return "CANCELLED"
    return "FAILED" if code else "COMPLETED"
