"""Jobs that follow one another: by the cause of an end, within bounds, and never because of Dagster's own retries."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from dagster_slurm import ComputeResource, Resources, SlurmRetryPolicy
from testcluster import Cluster
from tests.dagster.counting import wait_until
from tests.dagster.support import Bench, Ran
from tests.fakeslurm import FakeSlurm

#: marks that it runs, says what it was told, and ends well from the given start on
COUNTS = """
import json, os, pathlib, sys, time
folder = pathlib.Path(pipes.extras["folder"])
number = len(list(folder.iterdir()))
names = ("DAGSTER_SLURM_JOB_ID", "DAGSTER_SLURM_RUN_DIR", "DAGSTER_SLURM_CONTINUATION", "DAGSTER_SLURM_CHECKPOINT_DIR")
told = {name.rpartition("SLURM_")[2]: os.environ.get(name) for name in names}
(folder / str(number)).write_text(json.dumps(told))
print("start", number, flush=True)
pipes.report_asset_materialization(metadata={"number": number})
if number < pipes.extras["ends_at"]:
    time.sleep(60)
"""


class Starts:
    """What a payload of this file told each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def __len__(self) -> int:
        return len(list(self.folder.iterdir()))

    def __getitem__(self, number: int) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / str(number)).read_text())
        return found


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path / "starts")


@contextmanager
def striking(fake: FakeSlurm, starts: Starts, *accidents: Callable[[int], object]) -> Iterator[None]:
    """Let one thing after the other happen to the jobs of a payload, each once it runs."""

    def strike() -> None:
        for number, accident in enumerate(accidents):
            wait_until(lambda number=number: len(starts) > number and starts[number])
            accident(int(starts[number]["JOB_ID"]))

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def run(bench: Bench, starts: Starts, ends_at: int, **arguments: Any) -> Ran:
    """With Dagster's own retries on top, which are to change nothing."""
    path = bench.payloads.pipes(COUNTS)

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=5))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(
            context=context,
            payload_path=path,
            extras={"folder": str(starts.folder), "ends_at": ends_at},
            **{"extra_slurm_opts": {"time": "00:04:00", "no-requeue": True}, **arguments},
        )

    return bench.materialize(one)


@pytest.mark.slow
def test_one_after_the_other(fake_bench: Bench, fake: FakeSlurm, starts: Starts) -> None:
    """Each cause changes what it must, what was changed stays, and the metadata show all of it."""
    with striking(fake, starts, fake.out_of_memory, fake.time_out, fake.fail_node, fake.preempt):
        ran = run(fake_bench, starts, 4, retry=SlurmRetryPolicy(max_retries=4))
    assert ran.success
    scripts = [fake.script(job.id) for job in fake.jobs()]
    asked = [
        {name: next((line.split(f"--{name}=")[1] for line in text.splitlines() if f"--{name}=" in line), None)}
        for text in scripts
        for name in ("mem", "time", "exclude")
    ]
    node = next(iter(asked[11].values()))
    assert [next(iter(item.values())) for item in asked] == [
        *("100M", "00:04:00", None),
        *("200M", "00:04:00", None),
        *("200M", "00:08:00", None),
        *("200M", "00:08:00", node),
        *("200M", "00:08:00", node),
    ]
    assert node
    found = ran.metadata()
    assert (found["number"], found["slurm/job_id"]) == (4, str(fake.jobs()[-1].id))
    assert (found["slurm/retries"], found["slurm/continuations"]) == (4, 0)
    for told in ("out_of_memory, then again with mem=200M", "time_limit, then again with time_limit=00:08:00"):
        assert told in found["slurm/earlier_jobs"]
    folders = [starts[number]["RUN_DIR"].rpartition(".")[2] for number in range(5)]
    assert folders == ["0", "1", "2", "3", "4"]
    assert not list(Path(starts[0]["RUN_DIR"]).parent.glob("*/env.sh")), "no variables stay behind"
    assert len(list(Path(starts[0]["RUN_DIR"]).parent.glob("*/collected.json"))) == 5
    assert sum("Submitting it once more" in line for line in ran.logged("warning")) == 4


def test_within_bounds(fake_bench: Bench, fake: FakeSlurm, starts: Starts) -> None:
    """Nor does Dagster try it again."""
    with striking(fake, starts, fake.preempt, fake.preempt):
        ran = run(fake_bench, starts, 9, retry=SlurmRetryPolicy(max_retries=1))
    assert not ran.success
    assert len(fake.jobs()) == 2
    assert "tried again 1 times (max_retries)" in ran.failure.text
    assert ran.failure.metadata["slurm/cause"] == "preempted"
    assert ran.failure.metadata["slurm/retries"] == 1


def test_not_for_the_users_own_errors(fake_bench: Bench, fake: FakeSlurm) -> None:
    path = fake_bench.payloads.plain("import sys; sys.exit(3)")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    bench = Bench(fake_bench.instance, _with_default(fake_bench.compute, SlurmRetryPolicy()), fake_bench.payloads)
    ran = bench.materialize(one)
    assert not ran.success
    assert len(fake.jobs()) == 1
    assert "not tried again: the payload's own errors are not tried again" in ran.failure.text


def _with_default(compute: ComputeResource, retry: SlurmRetryPolicy) -> ComputeResource:
    return ComputeResource(mode=compute.mode, slurm=compute.slurm, retry=retry)


@pytest.mark.slow
def test_a_larger_job_that_is_refused(fake_bench: Bench, fake: FakeSlurm, starts: Starts) -> None:
    """The end of the job that ran is what the step fails with."""

    def strike(job: int) -> None:
        fake.refuse("sbatch: error: Memory specification can not be satisfied")
        fake.out_of_memory(job)

    with striking(fake, starts, strike):
        ran = run(fake_bench, starts, 9, retry=SlurmRetryPolicy())
    assert not ran.success
    assert len(fake.jobs()) == 1
    assert ran.failure.metadata["slurm/error"] == "OutOfMemory"
    assert "not tried again" in ran.failure.text
    assert "Memory specification" in ran.failure.text
    fake.heal()
    assert len(list(Path(starts[0]["RUN_DIR"]).parent.glob("*/collected.json"))) == 2


@pytest.mark.slow
def test_taken_up_between_two_jobs(fake_bench: Bench, fake: FakeSlurm, starts: Starts) -> None:
    """Whoever retries the run reads the end that nobody has read, and goes on counting."""
    path = fake_bench.payloads.pipes(COUNTS)

    @dg.asset(name="one")
    def asset(context: dg.AssetExecutionContext, compute: ComputeResource):
        try:
            return compute.run(
                context=context,
                payload_path=path,
                extras={"folder": str(starts.folder), "ends_at": 2},
                extra_slurm_opts={"time": "00:04:00", "no-requeue": True},
                retry=SlurmRetryPolicy(max_retries=2),
            )
        except DagsterExecutionInterruptedError:
            fake.wait(fake.jobs()[-1].id)
            raise dg.RetryRequested from None

    def stop_us(job: int) -> None:
        """As the machine with Dagster on it is shut down, while the second job runs."""
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(1)
        fake.time_out(job)

    with striking(fake, starts, fake.out_of_memory, stop_us):
        ran = fake_bench.materialize(asset)
    assert ran.success, ran.failure.text
    assert len(fake.jobs()) == len(starts) == 3
    assert ran.metadata()["slurm/retries"] == 2
    assert "--mem=200M" in fake.script(fake.jobs()[-1].id)
    assert "--time=00:08:00" in fake.script(fake.jobs()[-1].id)


SAVES = """
import os, pathlib, signal, sys, time
from dagster_pipes import open_dagster_pipes

saved = pathlib.Path(os.environ["DAGSTER_SLURM_CHECKPOINT_DIR"]) / "step"
step = int(saved.read_text()) if saved.exists() else 0


def save_and_leave(*_):
    saved.with_name("new").write_text(str(step))
    saved.with_name("new").replace(saved)
    sys.exit(0)


signal.signal(signal.SIGTERM, save_and_leave)
pathlib.Path("runs").touch()
with open_dagster_pipes() as pipes:
    pipes.log.info(f"continuation {os.environ['DAGSTER_SLURM_CONTINUATION']} from step {step}")
    while step < pipes.extras["steps"]:
        time.sleep(pipes.extras["seconds"])
        step += 1
    pipes.report_asset_materialization(metadata={"steps": step})
"""


def continued(bench: Bench, steps: int, seconds: float, **arguments: Any) -> Ran:
    path = bench.payloads.plain(SAVES)
    return bench.run(path, extras={"steps": steps, "seconds": seconds}, **arguments)


def test_work_that_is_longer_than_the_time_limit(fake_bench: Bench, fake: FakeSlurm) -> None:
    """The fake's minutes last two seconds: the job is told before its end, saves, and the next one goes on."""
    limit = Resources(time_limit="00:03:00", options={"requeue": False})
    policy = SlurmRetryPolicy(on_timeout="continue", warning=60)
    ran = continued(fake_bench, 24, 0.25, resources=limit, retry=policy)
    assert ran.success, ran.failure.text
    jobs = len(fake.jobs())
    assert jobs > 1
    found = ran.metadata()
    assert (found["steps"], found["slurm/continuations"], found["slurm/retries"]) == (24, jobs - 1, 0)
    assert found["slurm/elapsed_seconds"] > 6
    said = [line for line in ran.logged("info") if line.startswith("continuation")]
    assert [line.split()[1] for line in said] == [str(number) for number in range(jobs)]
    begun = [int(line.rpartition(" ")[2]) for line in said]
    assert begun[0] == 0
    assert begun == sorted(set(begun)), "each goes on where the one before it stopped"
    assert "--signal=B:TERM@60" in fake.script(fake.jobs()[0].id)


@pytest.mark.slow
def test_continued_so_often_and_no_more(fake_bench: Bench, fake: FakeSlurm) -> None:
    limit = Resources(time_limit="00:01:00", options={"requeue": False})
    policy = SlurmRetryPolicy(on_timeout="continue", warning=10, max_continuations=1, max_retries=0)
    ran = continued(fake_bench, 1000, 1, resources=limit, retry=policy)
    assert not ran.success
    assert len(fake.jobs()) == 2
    assert "it was continued 1 times (max_continuations)" in ran.failure.text


def test_here_nothing_ends_by_a_time_limit(bench: Bench) -> None:
    """The same asset runs beside Dagster: the folder is there, and it is the first continuation of none."""
    ran = continued(bench, 2, 0.01, retry=SlurmRetryPolicy(on_timeout="continue"))
    assert ran.success, ran.failure.text
    assert "continuation 0 from step 0" in ran.logged("info")
    assert "slurm/retries" not in ran.metadata()


@pytest.mark.slow
def test_what_slurm_requeues_is_waited_for(fake_bench: Bench, fake: FakeSlurm, starts: Starts) -> None:
    with striking(fake, starts, fake.preempt):
        ran = run(fake_bench, starts, 1, extra_slurm_opts={"time": "00:04:00"}, retry=SlurmRetryPolicy())
    assert ran.success
    assert len(fake.jobs()) == 1
    assert ran.metadata()["slurm/restarts"] == 1
    assert "slurm/retries" not in ran.metadata()


@pytest.mark.cluster
def test_more_memory(cluster_bench: Bench, cluster: Cluster) -> None:
    if not cluster.confines_memory:
        pytest.skip("this host has no cgroups that confine memory")
    path = cluster_bench.payloads.plain("x = bytearray(120_000_000)\nx[::4096] = b'x' * len(x[::4096])")
    ran = cluster_bench.run(path, resources=Resources(mem="80M"), retry=SlurmRetryPolicy())
    assert ran.success, ran.failure.text
    found = ran.metadata()
    assert (found["slurm/requested_memory_mib"], found["slurm/retries"]) == (160, 1)
    assert "out_of_memory, then again with mem=160M" in found["slurm/earlier_jobs"]


@pytest.mark.cluster
@pytest.mark.slow
def test_a_real_time_limit(cluster_bench: Bench) -> None:
    """Two jobs of a minute, which Slurm tells before their end."""
    policy = SlurmRetryPolicy(on_timeout="continue", warning=30)
    ran = continued(cluster_bench, 50, 2, resources=Resources(time_limit=1), retry=policy)
    assert ran.success, ran.failure.text
    found = ran.metadata()
    assert found["steps"] == 50
    assert found["slurm/continuations"] >= 1
    assert found["slurm/elapsed_seconds"] >= 100
