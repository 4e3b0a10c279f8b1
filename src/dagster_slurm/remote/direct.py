"""The scheduler of local mode: a process beside Dagster, in a session of its own, known by its id and start time."""

import contextlib
import os
import signal
import subprocess
import time
from typing import Any, Dict, List, Optional

#: how long killed processes may take to be gone, in seconds
_LAST_MOMENTS = 10.0


class Direct:
    """Starts, lists and stops job scripts as plain processes."""

    def __init__(self) -> None:
        self._children: Dict[int, "subprocess.Popen[bytes]"] = {}

    def start(self, directory: str, environment: Dict[str, str]) -> Dict[str, Any]:
        """Start the job script of a run directory; return its identity."""
        with open(os.path.join(directory, "slurm.log"), "ab") as log:
            process = subprocess.Popen(
                ["/bin/bash", os.path.join(directory, "job.sh")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                env=environment,
                start_new_session=True,
            )
        self._children[process.pid] = process
        return {"id": str(process.pid), "ticks": start_time(process.pid)}

    def alive(self, pid: int, ticks: Optional[str]) -> bool:
        """Whether this process, and not another that got its number later, runs."""
        child = self._children.get(pid)
        if child is not None:
            if child.poll() is None:
                return True
            del self._children[pid]
            return False
        now = start_time(pid)
        return now is not None and (ticks is None or now == ticks)

    def rows(self, jobs: List[Dict[str, Any]]) -> List[str]:
        """Return lines like those of the queue for the jobs that run; of those that do not, nothing is left running."""
        running = [job for job in jobs if self.alive(_process(job["id"]), job.get("ticks"))]
        for job in jobs:
            if job not in running:
                end_orphans(_process(job["id"]))
        return ["%s|RUNNING" % job["id"] for job in running]

    def stop(self, pid: int, ticks: Optional[str]) -> bool:
        """Ask a job script to end; it forwards to its payload and kills it if need be."""
        if not self.alive(pid, ticks):
            return end_orphans(pid)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        return True


def _process(job: Any) -> int:
    """Return the process of a job, or of the one that a component (``4711+1``) belongs to."""
    return int(str(job).split("+", 1)[0])


def end_orphans(leader: int) -> bool:
    """Kill what a job script that was killed left running, as Slurm does; say whether there was anything.

    Nobody would note how such a payload ends, and a retry must not run beside it. All of a job script's processes are
    of its session, and the number of a session is not given to a new process while one of them lives.
    """
    deadline, found = time.monotonic() + _LAST_MOMENTS, False
    while start_time(leader) is None:
        members = [pid for pid in _processes() if _session(pid) == leader and start_time(pid) is not None]
        if not members or time.monotonic() > deadline:
            break
        found = True
        for pid in members:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return found


def _processes() -> List[int]:
    if os.path.isdir("/proc/1"):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    done = subprocess.run(["/bin/ps", "-axo", "pid="], stdout=subprocess.PIPE, check=False)
    return [int(word) for word in done.stdout.split()]


def _session(pid: int) -> Optional[int]:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def start_time(pid: int) -> Optional[str]:
    """Return when a process started, in the system's own terms; None if there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return None if os.path.isdir("/proc/1") else _start_time_by_ps(pid)
    return None if fields[0] == b"Z" else fields[19].decode()


def _start_time_by_ps(pid: int) -> Optional[str]:
    """On macOS there is no /proc."""
    done = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], stdout=subprocess.PIPE, check=False)
    return done.stdout.decode().strip() or None
