"""The directory that carries everything: configuration, faults, jobs, the log of calls. One lock guards it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from .job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

DEFAULTS: dict[str, Any] = {
    "cluster": "fake",
    "parsable_cluster": False,  # `sbatch --parsable` prints jobid;cluster
    "version": "22.05.8",
    "package": "slurm",  # Debian's says slurm-wlm
    "account": "research",  # every user's default
    "accounts": None,  # a list: others are refused
    "qos": None,
    "partitions": ["debug", "batch", "gpu"],
    "nodes": 4,
    "cpus_per_node": 8,
    "mem_per_node": 16000,  # MiB
    "kill_wait": 2.0,  # between TERM and KILL
    "min_job_age": 300.0,  # how long squeue remembers finished jobs
    "completing_time": 0.0,  # how long a finished job is COMPLETING
    "pending_time": 0.0,  # before a job starts; null: until it is released
    "pending_reason": "Priority",
    "pending_start_known": True,  # whether squeue %S tells the expected start
    "requeue_delay": 0.0,  # 120 s on real clusters
    "seconds_per_minute": 60.0,  # smaller: time limits run faster
    "first_job_id": 1,
    "store_comment": False,  # AccountingStoreFlags=job_comment
    "environment": {},  # what a login shell on the compute node would set
}


class State:
    """Access to one state directory."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.jobs_directory = self.directory / "jobs"
        self._config: dict[str, Any] | None = None

    def create(self) -> None:
        self.jobs_directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "lock").touch()
        (self.directory / "calls.jsonl").touch()

    def lock(self) -> Lock:
        return Lock(self.directory / "lock")

    # -- settings

    @property
    def config(self) -> dict[str, Any]:
        """The settings, read once per process."""
        if self._config is None:
            self._config = {**DEFAULTS, **read_json(self.directory / "config.json", {})}
        return self._config

    def configure(self, **settings: Any) -> None:
        unknown = set(settings) - set(DEFAULTS)
        if unknown:
            raise KeyError(f"no such setting: {sorted(unknown)}; known: {sorted(DEFAULTS)}")
        path = self.directory / "config.json"
        with self.lock():
            write_json(path, {**read_json(path, {}), **settings})
        self._config = None

    # -- jobs

    def job_directory(self, job_id: int) -> Path:
        return self.jobs_directory / str(job_id)

    def next_id(self) -> int:
        """A fresh job id. The lock must be held."""
        path = self.directory / "next_id"
        number = max(int(path.read_text()) if path.exists() else 0, int(self.config["first_job_id"]))
        replace(path, str(number + 1))
        return number

    def load(self, job_id: int) -> Job | None:
        fields = read_json(self.job_directory(job_id) / "job.json", None)
        return None if fields is None else Job(**fields)

    def save(self, job: Job, now: float | None = None) -> None:
        """Write a job and remember when it changed. The lock must be held."""
        job.remember(time.time() if now is None else now)
        write_json(self.job_directory(job.id) / "job.json", job.__dict__)

    def jobs(self) -> Iterator[Job]:
        """All jobs there ever were, by id."""
        for number in sorted(int(name) for name in os.listdir(self.jobs_directory)):  # noqa: PTH208
            job = self.load(number)
            if job is not None:
                yield job

    def edit(self, job_id: int) -> Edit:
        """`with state.edit(7) as job:` changes a job under the lock."""
        return Edit(self, job_id)

    # -- the supervisor of a job

    def tell(self, job_id: int, op: str, **message: Any) -> bool:
        """Send the job's supervisor a message; False if it has none any more."""
        try:
            fd = os.open(self.job_directory(job_id) / "control", os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(fd, json.dumps({"op": op, **message}).encode() + b"\n")
            finally:
                os.close(fd)
        except OSError:  # no reader, or none any more: the supervisor is gone
            return False
        return True

    # -- calls

    def log_call(self, command: str, argv: list[str]) -> None:
        entry = {
            "command": command,
            "argv": argv,
            "time": time.time(),
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "uid": os.getuid(),
        }
        fd = os.open(self.directory / "calls.jsonl", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(fd)


class Lock:
    """An exclusive lock on the state; the system frees it when its process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class Edit:
    """A job under the lock, saved at the end unless an exception passes."""

    def __init__(self, state: State, job_id: int) -> None:
        self._state = state
        self._lock = state.lock()
        self._job_id = job_id
        self._job: Job | None = None

    def __enter__(self) -> Job:
        self._lock.__enter__()
        self._job = self._state.load(self._job_id)
        if self._job is None:
            self._lock.__exit__()
            raise KeyError(f"no job {self._job_id}")
        return self._job

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None and self._job is not None:
                self._state.save(self._job)
        finally:
            self._lock.__exit__()


def read_json(path: Path, default: Any) -> Any:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return json.load(file)
    except FileNotFoundError:
        return default


def write_json(path: Path, value: object) -> None:
    replace(path, json.dumps(value))


def replace(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that readers see the old or the new one. The lock must be held."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    os.replace(temporary, path)  # noqa: PTH105
