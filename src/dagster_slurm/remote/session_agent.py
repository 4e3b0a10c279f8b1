"""Inside an allocation: takes requests from a file, starts units of work as steps, and ends when nobody needs it.

The payload of a session's holder job. Its settings lie in ``session.json`` of the holder's run directory.
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from . import rundir
from .refused import Refused
from .session_clusters import Clusters
from .session_life import Life
from .session_lines import CLOSED, LEASES, REQUESTS, decode, tell
from .session_units import Units
from .session_words import between, nodes, seconds

#: seconds between two looks at the requests: after one, and after a long silence
_SOONEST, _LATEST = 0.02, 0.25
_COMMAND = 30.0
_SAY_EVERY = 60.0


class Session:
    """One allocation.

    Args:
        directory: the holder's run directory.
        job: its id.
    """

    def __init__(self, directory: str, job: str) -> None:
        with open(os.path.join(directory, "session.json"), encoding="utf-8") as file:
            self._settings: Dict[str, Any] = json.load(file)
        self._directory = directory
        self._job = job
        found = nodes(_ask(["scontrol", "show", "job", "-d", job]))
        cpus, memory = sum(group[1] for group in found), sum(group[2] for group in found)
        left, _, times = _ask(["squeue", "-h", "-j", job, "-o", "%L|%V|%S"]).strip().partition("|")
        now = time.monotonic()
        self._life = Life(now, float(self._settings["idle_timeout"]), seconds(left), between(*times.split("|")))
        environment = _clean(dict(os.environ))
        script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "unit.sh")
        share = memory // cpus if cpus else 0
        self._share = share
        largest = max((group[2] for group in found), default=0)
        self._units = Units(
            job, script, share=share, largest=largest, most=self._settings["most"], environment=environment
        )
        self._clusters = Clusters(self._units)
        self._nodes = int(os.environ.get("SLURM_JOB_NUM_NODES") or 1)
        self._offset, self._rest, self._leases = 0, b"", -1
        self._heard = self._counted = self._begun = now
        self._busy_seconds = 0.0
        self._said: Dict[str, Any] = {}
        self._said_at = now
        self._closed = ""
        self._told_to_stop = False

    def run(self) -> None:
        """Serve until there is nothing left to do."""
        signal.signal(signal.SIGTERM, self._stop)
        self._say({"session_share_mib": self._share})
        while True:
            now = time.monotonic()
            self._hear(now)
            self._count(now)
            self._units.listen(now)
            self._end(now)  # first: what came after the request to stop is not begun
            self._begin(now)
            self._clusters.look(now)
            if self._closed and not self._units.working() and self._clusters.end_all(now):
                break
            select.select(self._units.streams(), [], [], self._pause(now))
        self._say(dict(self._figures(), ended=self._closed))

    def _stop(self, _signal: int, _frame: object) -> None:
        self._told_to_stop = True

    def _pause(self, now: float) -> float:
        silence = now - self._heard
        return min(max(silence / 20, _SOONEST), _LATEST)

    def _hear(self, now: float) -> None:
        """Read what is new in the files; they are opened anew, since that alone shows new bytes on NFS."""
        with open(os.path.join(self._directory, REQUESTS), "rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        items, self._rest = decode(self._rest + data)
        for item in items:
            self._heard = now
            self._take(item, now)
        size = os.path.getsize(os.path.join(self._directory, LEASES))
        if size != self._leases:
            self._leases = size
            self._life.lease(now)

    def _take(self, item: Dict[str, Any], now: float) -> None:
        kind = item.get("op")
        if kind == "unit" and not self._closed:
            flags = item["flags"]
            self._life.lease(now)
            if "cluster" not in flags:  # whoever needs the cluster comes, too
                self._life.begin(flags["run"], flags["step"])
            self._units.take(item)
        elif kind == "cancel":
            self._units.drop(item["dir"])
        elif kind == "done":
            self._life.done(item["run"], item["step"], item["unfinished"], item["keep"])
        elif kind == "stop":
            self._life.stop(item["why"])

    def _count(self, now: float) -> None:
        self._busy_seconds += self._units.busy_nodes() * (now - self._counted)
        self._counted = now
        if self._units.working() or (self._units.wanted() and self._life.attended(now)):
            self._life.work(now)
            self._heard = max(self._heard, now - 2.0)  # an end is worth seeing soon

    def _begin(self, now: float) -> None:
        if self._closed or not self._life.attended(now):
            return
        unit = self._units.ready(now)
        if unit is None:
            return
        if self._life.too_late_for(now, unit.flags.get("seconds")):
            self._close("its time limit is near")
            return
        if "served" not in self._said:
            self._say({"served": 1})
        facts = dict(self._figures(), session=self._settings["name"], session_job=self._job)
        facts["session_generation"] = self._settings["generation"]
        self._units.start(unit, now, facts)

    def _end(self, now: float) -> None:
        if self._closed:
            return
        waiting = bool(self._units.wanted())
        if waiting and self._life.wants_successor(now) and "successor" not in self._said:
            self._say({"successor": 1})
        busy = bool(self._units.working()) or (waiting and self._life.attended(now))
        why = self._life.why_close(now, busy)
        if self._told_to_stop:
            why = "it was told to stop"
        elif self._units.over:
            why = "its allocation takes no more steps"
        if why:
            self._close(why)
        elif now - self._said_at >= _SAY_EVERY:
            self._say(self._figures())

    def _close(self, why: str) -> None:
        """Say that no more work is taken. What was handed over before this line and has not begun goes elsewhere."""
        self._closed = why
        try:
            tell(self._directory, {"op": CLOSED, "why": why})
        except (Refused, rundir.Locked, OSError) as error:
            sys.stderr.write("the last word could not be written: %s\n" % error)
        self._say({"closed": why})

    def _figures(self) -> Dict[str, Any]:
        """Return node hours with and without work, so far."""
        total = (time.monotonic() - self._begun) * self._nodes
        return {
            "session_busy_node_hours": round(self._busy_seconds / 3600, 5),
            "session_idle_node_hours": round(max(total - self._busy_seconds, 0.0) / 3600, 5),
        }

    def _say(self, facts: Dict[str, Any]) -> None:
        self._said.update(facts)
        self._said_at = time.monotonic()
        line = json.dumps({"event": "note", "restart": 0, "facts": facts}, separators=(",", ":"))
        with open(os.path.join(self._directory, rundir.RECORD), "ab", 0) as file:
            file.write(line.encode() + b"\n")


def _ask(argv: List[str]) -> str:
    done: Optional["subprocess.CompletedProcess[bytes]"] = None
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_COMMAND, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _clean(environment: Dict[str, str]) -> Dict[str, str]:
    """Return what a job would start with: nothing of the holder's own."""
    foreign = re.compile(r"(SLURM|SRUN|SBATCH|DAGSTER|PYTHON|CUDA_VISIBLE|ROCR_VISIBLE|GPU_DEVICE)")
    kept = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
    return {name: value for name, value in environment.items() if name in kept or not foreign.match(name)}


def main() -> None:
    """Run the session whose holder we are the payload of."""
    Session(os.environ["DAGSTER_SLURM_RUN_DIR"], os.environ["DAGSTER_SLURM_JOB_ID"]).run()
