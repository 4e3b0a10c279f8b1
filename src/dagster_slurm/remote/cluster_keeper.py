"""Keeps a warm cluster beside Dagster for as long as somebody needs it.

``main.py SCOPE NUMBER COMMAND...`` is the payload of the cluster's run. It ends the command when no process that could
still use the cluster is there.
"""

import contextlib
import signal
import subprocess
import sys
import time
from typing import List, Optional

from . import clusters

_PAUSE = 0.3
#: seconds without a user after which it ends, whoever might still come
_IDLE = 600.0


class Keeper:
    """Judges whether a cluster is still needed.

    Args:
        scope: folder of its scope.
        number: which it is there.
        command: the cluster.
    """

    def __init__(self, scope: str, number: int, command: List[str]) -> None:
        self._scope = scope
        self._number = number
        self._used = time.monotonic()
        self.child = subprocess.Popen(command)

    def look(self) -> None:
        """Tell the cluster to end if nobody needs it."""
        state = clusters.read(self._scope)
        if not self._why_end(state) or not self._give_up():
            return
        entry = self._entry(clusters.read(self._scope))
        if not entry["dir"]:
            self.child.terminate()
            return
        with contextlib.suppress(OSError), open(clusters.stop_file(entry), "r+b") as file:  # it may not have begun
            file.write(b"stop\n")

    def forget(self) -> None:
        """Take it off the list: it has ended."""
        with clusters.change(self._scope) as state:
            state["clusters"] = [item for item in state["clusters"] if item["number"] != self._number]

    def _why_end(self, state: clusters.State) -> str:
        entry, now = self._entry(state), time.monotonic()
        if entry["users"]:
            self._used = now
            return ""
        if entry["ending"]:
            return str(entry["ending"])
        if time.time() < state["linger"]:
            return ""
        if not any(clusters.lives(pid, ticks) for pid, ticks in state["kept"]):
            return "no step of the run needs it"
        return "it was idle for %d s" % _IDLE if now - self._used > _IDLE else ""

    def _give_up(self) -> bool:
        """Let nobody else come; false if somebody just has."""
        with clusters.change(self._scope) as state:
            entry = self._entry(state)
            why = self._why_end(state)
            if why and not entry["ending"]:
                entry["ending"] = why
                print("dagster-slurm: the cluster ends:", why, flush=True)
            return bool(why)

    def _entry(self, state: clusters.State) -> clusters.Entry:
        entry: Optional[clusters.Entry] = None
        entry = next((item for item in state["clusters"] if item["number"] == self._number), None)
        # over, or unknown, for instance since somebody removed the folder
        return entry or {"users": {}, "ending": "nobody knows it", "dir": "", "framework": ""}


def main() -> None:
    """Run the command; exit as it does."""
    keeper = Keeper(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
    # the job script tells the whole group; what its command makes of that is the answer
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda _signal, _frame: None)
    while keeper.child.poll() is None:
        time.sleep(_PAUSE)
        keeper.look()
    keeper.forget()
    code = keeper.child.returncode
    sys.exit(code if code >= 0 else 128 - code)
