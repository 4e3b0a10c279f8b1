"""What Slurm's commands say inside an allocation. Recorded on 22.05 and 24.11; text only, no I/O."""

import re
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

Refusal = NamedTuple("Refusal", [("kind", str), ("text", str), ("node", str)])
"""Why srun began nothing: ``refused`` (never), ``again`` (try once more), ``busy`` (others have it:
for memory srun does not wait), ``node`` (not on that node), ``over``."""

_ERROR = re.compile(r"srun: error: (.*)")
_NODE = re.compile(r"Task launch for \S+ failed on node (\S+):|launch_tasks: \S+ on (\S+)|Communication .* on (\S+)")
_OVER = re.compile(r"already completing or completed|has expired|Invalid job id|no longer running|is being cancelled")
_BUSY = re.compile(r"Memory required by task is not available")
_AGAIN = re.compile(
    r"Socket timed out|Unable to contact|Connection refused|Zero Bytes|temporarily unavailable|Transport endpoint"
    r"|Unable to confirm allocation|Communication connection failure|Slurm backup controller|not responding"
)


def refusal(log: str) -> Refusal:
    """Return why srun ended without having begun anything, from what it said."""
    errors = [match.group(1).strip() for match in _ERROR.finditer(log)]
    text = "; ".join(errors[-3:]) or log.strip()[-400:] or "srun said nothing"
    node = next((found for match in _NODE.finditer(log) for found in match.groups() if found), "")
    if _OVER.search(log):
        return Refusal("over", text, "")
    if node:
        return Refusal("node", text, node)
    if _BUSY.search(errors[-1] if errors else ""):
        return Refusal("busy", text, "")
    return Refusal("again" if _AGAIN.search(log) else "refused", text, "")


def seconds(text: str) -> Optional[float]:
    """Return a duration as squeue writes it (``[d-][h:]m:s``); None for one without end."""
    match = re.match(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)$", text.strip())
    if not match:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def between(submitted: str = "", started: str = "") -> float:
    """Return seconds between two moments as squeue writes them; 0 where it does not tell."""
    try:
        first, last = (time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S")) for text in (submitted, started))
    except ValueError:
        return 0.0
    return max(last - first, 0.0)


def nodes(described: str) -> List[Tuple[str, int, int]]:
    """Return name, CPUs and MiB of each group of nodes that ``scontrol show job -d`` lists."""
    groups = re.finditer(r"\bNodes=(\S+) CPU_IDs=(\S+) Mem=(\d+)", described)
    return [(match.group(1), _count(match.group(2)), int(match.group(3))) for match in groups]


def _count(ids: str) -> int:
    total = 0
    for part in ids.split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def srun(job: str, flags: Dict[str, Any], memory: int, excluded: List[str], beside: str = "") -> List[str]:
    """Return the command that starts a unit. All is said: what is not, srun would take from the allocation.

    Args:
        job: the allocation.
        flags: what the unit asks for.
        memory: MiB on each of its nodes.
        excluded: nodes that could start nothing.
        beside: the node of the cluster that it uses: it runs there, out of Slurm's reckoning.
    """
    nodes_, cpus = int(flags["nodes"]), int(flags["cpus"])
    how = ["--overlap"] if flags.get("beside") else ["--exact"]
    how += ["--nodelist=" + beside] if beside else []
    argv = ["srun", "--jobid=" + job, *how, "--nodes=%d" % nodes_, "--ntasks=%d" % nodes_]
    argv += ["--ntasks-per-node=1", "--cpus-per-task=%d" % cpus, "--mem=%dM" % memory, "--gres=" + flags["gres"]]
    argv += ["--mpi=none", "--cpu-bind=none", "--kill-on-bad-exit=0", "--job-name=" + flags["name"]]
    if nodes_ == 1:
        argv.append("--input=none")
    if flags.get("minutes"):
        argv.append("--time=%d" % flags["minutes"])
    if excluded and not flags.get("beside"):
        argv.append("--exclude=" + ",".join(excluded))
    return argv
