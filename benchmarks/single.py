"""One asset, and a few in one process."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import assets, place
from benchmarks.figures import interleaved, median, seconds
from benchmarks.place import PAYLOADS, Raw, Sshd
from benchmarks.table import Result
from dagster_slurm.resources import targets
from testcluster import Cluster

_NOOP = PAYLOADS / "noop.py"


def slurm_noop(cluster: Cluster, *, quick: bool) -> list[Result]:
    """A no-op asset as a Slurm job, through a connection that is open; what it takes there."""
    raw, noop = Raw(cluster), assets.asset("noop", _NOOP)
    raw.prepare("raw", _NOOP.read_text())
    assets.materialize([noop], cluster)
    commands, sshd, times = _commands(cluster), Sshd(cluster), 7 if quick else 21
    by_hand, ours = interleaved(
        times, lambda: raw.submit_and_wait("raw"), lambda: assets.materialize([noop], cluster), pause=1.0
    )
    asked = {name: count - commands.get(name, 0) for name, count in _commands(cluster).items()}
    raw.close()
    a, b = median(by_hand), median(ours)
    extra = sshd.sessions - times  # the raw side's, one each
    words = ", ".join(f"{count} {name}" for name, count in sorted(asked.items()) if count)
    return [
        Result(
            "no-op asset, slurm, warm", seconds(b), "0.75 s, aim 0.6", b <= 0.75, seconds(a), b / a, f"{times} runs"
        ),
        Result(
            "new sessions, commands there",
            f"{extra}; {sum(asked.values()) / times:.1f}",
            "0; 1",
            extra == 0 and sum(asked.values()) <= times,
            "1; 1",
            remark=f"one channel for {times} assets; {words}",
        ),
    ]


def _commands(cluster: Cluster) -> dict[str, int]:
    """Return how often the agent has run each of Slurm's commands."""
    slurm = place.compute(cluster).slurm
    assert slurm is not None
    answer, _ = targets.cluster(slurm).host.request("counts")
    return dict(answer["commands"])


def local_noop(*, quick: bool) -> list[Result]:
    """A no-op asset beside Dagster."""
    noop = assets.asset("noop", _NOOP)
    assets.materialize([noop], None)
    by_hand, ours = interleaved(
        7 if quick else 21,
        lambda: subprocess.run([sys.executable, str(_NOOP)], check=True),
        lambda: assets.materialize([noop], None),
    )
    a, b = median(by_hand), median(ours)
    return [Result("no-op asset, local", seconds(b), "0.35 s", b <= 0.35, seconds(a), b / a, f"{len(ours)} runs")]


def in_one_process(cluster: Cluster, *, quick: bool) -> list[Result]:
    """Twenty assets, one after the other."""
    graph = [assets.asset(f"asset_{number}", _NOOP) for number in range(assets.COUNT)]
    raw = Raw(cluster)
    raw.prepare("raw", _NOOP.read_text())
    place.log_out(cluster)
    sshd = Sshd(cluster)
    logins = []

    def ours() -> None:
        before = sshd.logins
        assets.materialize(list(graph), cluster)
        logins.append(sshd.logins - before)

    by_hand, took = interleaved(1 if quick else 3, lambda: raw.submit_and_wait("raw", assets.COUNT), ours)
    raw.close()
    a, b = median(by_hand), median(took)
    remark = f"{logins[0]} login, then {sum(logins[1:])}; raw: all at once, then waits"
    met = b <= 15 and sum(logins) <= 1
    return [Result("20 assets, one process", seconds(b), "15 s, 1 login", met, seconds(a), b / a, remark)]
