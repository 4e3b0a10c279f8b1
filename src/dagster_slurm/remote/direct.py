"""The scheduler of local mode: a process beside Dagster, in a session of its own, known by its id and start time."""

import contextlib
import os
import signal
import subprocess
from typing import Any, Dict, List, Optional


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
        """Return lines like those of the queue for the jobs that run."""
        return ["%s|RUNNING" % job["id"] for job in jobs if self.alive(_process(job["id"]), job.get("ticks"))]

    def stop(self, pid: int, ticks: Optional[str]) -> bool:
        """Ask a job script to end; it forwards to its payload and kills it if need be."""
        if not self.alive(pid, ticks):
            return False
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        return True


def _process(job: Any) -> int:
    """Return the process of a job, or of the one that a component (``4711+1``) belongs to."""
    return int(str(job).split("+", 1)[0])


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
