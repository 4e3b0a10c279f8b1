"""What the benchmark prints and must not creep up: logins, sessions, remote commands, questions to the scheduler."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import assets, place
from benchmarks.place import PAYLOADS, Sshd
from dagster_slurm.remote.queues import LOOK
from dagster_slurm.resources import targets
from dagster_slurm.transport.ssh import counts
from testcluster import Cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"),
]

#: says what the agent of this process was asked to run, after following some jobs for a while
_WATCH = ("--jobs=3", "--talking=1", "--seconds=15", "--rest=0")


@pytest.fixture
def sshd(cluster: Cluster) -> Iterator[Sshd]:
    """What sshd notes during the test. The connection ends before the next one begins."""
    counts.reset()
    yield Sshd(cluster)
    place.log_out(cluster)


def _asked(cluster: Cluster) -> dict[str, int]:
    slurm = place.compute(cluster).slurm
    assert slurm is not None
    answer, _ = targets.cluster(slurm).host.request("counts")
    return answer["commands"]


def test_assets_of_a_process_share_one_session_and_ask_the_scheduler_nothing(cluster: Cluster, sshd: Sshd) -> None:
    assets.materialize([assets.asset(name, PAYLOADS / "noop.py") for name in ("one", "two", "three")], cluster)
    assert sshd.logins == 1
    assert counts.sessions == 1
    assert _asked(cluster) == {"sbatch": 3}


def test_a_failing_payload_is_asked_about_once_or_twice(cluster: Cluster, sshd: Sshd, tmp_path: Path) -> None:
    payload = tmp_path / "fails.py"
    payload.write_text("raise SystemExit(3)\n")
    with pytest.raises(Exception, match="exit code 3"):
        assets.materialize([assets.asset("fails", payload)], cluster)
    asked = _asked(cluster)
    assert asked.pop("sbatch") == 1
    assert sum(asked.values()) <= 4
    assert sshd.logins == 1


def test_eight_processes_log_in_once(cluster: Cluster, sshd: Sshd) -> None:
    program = (
        "import sys; from dagster_slurm.engine.host import Host; from dagster_slurm.schedulers.slurm import Slurm;"
        "from dagster_slurm.transport.ssh import SSHSettings, SSHTransport;"
        f"host = Host(SSHTransport({place.settings(cluster)!r}), Slurm());"
        "print(host.hello('~')['pid'], flush=True); sys.stdin.read(); host.close()"
    )
    argv = [sys.executable, "-c", program]
    processes = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(8)]
    agents = {process.stdout.readline() for process in processes if process.stdout}
    for process in processes:
        process.communicate(timeout=60)
    assert len(agents) == 8
    assert all(process.returncode == 0 for process in processes)
    assert sshd.logins == 1


def test_processes_that_watch_share_their_looks_at_the_queue(
    cluster: Cluster, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look comes after 4 s, the next one 45 s later; the second process finds the first one's."""
    monkeypatch.setenv("BENCH_SECONDS", "300")
    monkeypatch.setenv("BENCH_PAUSE", "0.5")
    # one of a test before knows none of these jobs, and accounting would be asked about them
    agents = Path(tempfile.gettempdir(), f"dagster-slurm-agents-{pwd.getpwnam(cluster.user).pw_uid}")
    (agents / LOOK).unlink(missing_ok=True)
    processes = [place.start(cluster, "watcher", *_WATCH) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    cluster.admin(["scancel", "--user", cluster.user])
    assert sum(answer["queries"] for answer in answers) <= 1
    assert [answer["sessions"] for answer in answers] == [1, 1]
    assert all(answer["operations"] <= 51 for answer in answers)
    assert sshd.logins == 1
