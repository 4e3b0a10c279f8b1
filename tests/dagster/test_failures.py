"""Each cause of a failure as Dagster has it: an error that says what, where, and what to do."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, Resources
from dagster_slurm.pipes.failure import SlurmFailure
from testcluster import Cluster
from tests.dagster.conftest import BOTH
from tests.dagster.counting import wait_until
from tests.dagster.support import Bench, Failed
from tests.fakeslurm import FakeSlurm


def failing(bench: Bench, payload: Any, **arguments: Any) -> tuple[Failed, SlurmFailure]:
    """Run what must fail; return what Dagster has of it, and what was raised."""
    caught: list[SlurmFailure] = []

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        try:
            return compute.run(context=context, payload_path=payload, **arguments)
        except SlurmFailure as failure:
            caught.append(failure)
            raise

    ran = bench.materialize(one)
    assert not ran.success
    assert ran.materialized() == []
    failed = ran.failure
    assert failed.kind == "SlurmFailure"
    assert failed.text == str(caught[0].error)
    assert failed.metadata["slurm/error"] == type(caught[0].error).__name__
    assert caught[0].allow_retries is caught[0].error.allow_retries
    return failed, caught[0]


def says(failed: Failed, *, node: str | None, command: str, last: str | None) -> None:
    """Job, node, command, the last lines of the log, and what to do."""
    job = failed.metadata["slurm/job_id"]
    assert f"  job: {job}\n" in failed.text
    if node is not None:
        assert re.search(rf"^  node: {node}$", failed.text, re.MULTILINE), failed.text
    assert re.search(rf"^  command: .*{re.escape(command)}", failed.text, re.MULTILINE), failed.text
    assert f"  run directory: {failed.metadata['slurm/run_directory']}\n" in failed.text
    if last is not None:
        assert re.search(rf"^    \| .*{re.escape(last)}$", failed.text, re.MULTILINE), failed.text
        assert last in failed.metadata["slurm/log_tail"]
    assert "\n  What to do: " in failed.text
    assert failed.metadata["slurm/what_to_do"] in failed.text
    assert failed.metadata["slurm/evidence"]
    assert "Traceback" not in failed.text.split("\n")[0]


# --- ended by itself


@BOTH
def test_an_exit_code(any_bench: Bench) -> None:
    path = any_bench.payloads.plain("print('to out')\nimport sys\nprint('last words', file=sys.stderr)\nsys.exit(3)")
    failed, failure = failing(any_bench, path)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("PayloadFailed", "exit_code")
    says(failed, node=r"node\d" if any_bench.on_cluster else r"\S+", command="payload.py", last="last words")
    assert failed.metadata["slurm/exit_code"] == 3
    assert failed.metadata["slurm/state"] == "FAILED"
    assert "ended with exit code 3" in failed.text
    assert failure.allow_retries


@BOTH
def test_an_exception(any_bench: Bench) -> None:
    path = any_bench.payloads.pipes(
        "try:\n    {}['missing']\nexcept KeyError as error:\n    raise ValueError('no such row') from error"
    )
    failed, failure = failing(any_bench, path)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("PayloadRaised", "exception")
    assert failed.text.startswith("the payload raised ValueError: no such row\n")
    says(failed, node=None, command="payload.py", last="ValueError: no such row")
    assert "raise ValueError('no such row') from error" in failed.text, "the traceback"
    assert failure.allow_retries


def test_output_of_a_failed_payload_is_readable(bench: Bench) -> None:
    """A progress bar is one line, colours are gone, and standard output serves where there are no errors."""
    path = bench.payloads.plain(
        "import sys\nfor part in range(200): sys.stdout.write(f'\\r{part}%')\n"
        "sys.stdout.write('\\n\\x1b[31mred words\\x1b[0m')\nsys.exit(1)"
    )
    failed, _ = failing(bench, path)
    assert "    | 199%\n    | red words\n" in failed.text


@BOTH
def test_a_signal(any_bench: Bench) -> None:
    path = any_bench.payloads.plain(
        "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 11)"
    )
    failed, failure = failing(any_bench, path)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("PayloadKilled", "signal")
    assert "SIGSEGV" in failed.text
    says(failed, node=None, command="payload.py", last="last words")
    assert failure.allow_retries


@BOTH
def test_a_program_that_is_not_there(any_bench: Bench) -> None:
    failed, _ = failing(any_bench, ["no-such-program", "--flag"])
    assert failed.metadata["slurm/exit_code"] == 127
    says(
        failed,
        node=None,
        command="no-such-program --flag",
        last="cannot start no-such-program: No such file or directory",
    )
    assert "was not found in the job" in failed.text


# --- ended by the cluster


@pytest.mark.cluster
def test_out_of_memory(cluster_bench: Bench, cluster: Cluster) -> None:
    if not cluster.confines_memory:
        pytest.skip("this host has no cgroups that confine memory")
    path = cluster_bench.payloads.plain(
        "print('eating', flush=True)\nx = bytearray(400_000_000)\nx[::4096] = b'x' * len(x[::4096])"
    )
    failed, failure = failing(cluster_bench, path, resources=Resources(mem="80M"))
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("OutOfMemory", "out_of_memory")
    says(failed, node=r"node\d", command="payload.py", last=None)
    assert "asked for 80 MiB" in failed.text
    assert "mem='160M'" in failed.text
    assert failed.metadata["slurm/requested_memory_mib"] == 80
    assert failure.allow_retries


def end_it(then: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=then)
    thread.start()
    try:
        yield
    finally:
        thread.join()


once_it_runs = contextlib.contextmanager(end_it)
SLEEPS = "import sys, time\nprint('last words', file=sys.stderr, flush=True)\nopen('runs', 'w').close()\ntime.sleep(60)"


@pytest.mark.cluster
def test_cancelled_by_somebody_else(cluster_bench: Bench, cluster: Cluster) -> None:
    path = cluster_bench.payloads.plain(SLEEPS)
    key = f"by-hand-{uuid4().hex[:8]}"

    def cancel() -> None:
        wait_until(lambda: list((cluster.home / "dagster-slurm" / "runs").glob(f"*/one/{key}.0/work/runs")))
        cluster.admin(["scancel", *cluster.run(["squeue", "-h", "-t", "R", "-o", "%i"]).stdout.split()])

    with once_it_runs(cancel):
        failed, failure = failing(cluster_bench, path, key=key)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("JobCancelled", "cancelled")
    says(failed, node=r"node\d", command="payload.py", last="last words")
    assert "was cancelled by user id 0" in failed.text
    assert not failure.allow_retries


def runs(bench: Bench) -> bool:
    """Whether the payload has begun, and made its mark."""
    assert bench.compute.slurm is not None
    return bool(list(Path(bench.compute.slurm.remote_base).glob("runs/*/*/*/work/runs")))


ACCIDENTS = {
    "JobPreempted": ("preempted", lambda fake: fake.preempt, True, "was preempted"),
    "NodeFailed": ("node_failure", lambda fake: fake.fail_node, True, "lost a node"),
    "JobCancelled": ("cancelled", lambda fake: fake.cancel, False, "was cancelled"),
    "TimeLimitReached": ("time_limit", lambda fake: fake.time_out, True, "reached its time limit of 00:04:00"),
    "OutOfMemory": ("out_of_memory", lambda fake: fake.out_of_memory, True, "ran out of memory (asked for 100 MiB"),
}


@pytest.mark.parametrize("error", ACCIDENTS)
@pytest.mark.parametrize("accounting", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["accounting", "none"])
def test_accidents(fake_bench: Bench, fake: FakeSlurm, error: str, accounting: bool) -> None:
    """With accounting and without."""
    cause, accident, allows, told = ACCIDENTS[error]
    if not accounting:
        fake.accounting_away()
    path = fake_bench.payloads.plain(SLEEPS)

    def strike() -> None:
        wait_until(lambda: runs(fake_bench))
        accident(fake)(fake.jobs()[0].id)

    options = {"time": "00:04:00", "no-requeue": True}
    with once_it_runs(strike):
        failed, failure = failing(fake_bench, path, extra_slurm_opts=options)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == (error, cause)
    says(failed, node=None, command="payload.py", last="last words")
    assert told in failed.text
    assert failure.allow_retries is allows


@pytest.mark.slow
def test_an_end_that_nobody_can_explain(fake_bench: Bench, fake: FakeSlurm) -> None:
    """Stopped by a signal, exit code 0, and Slurm does not answer: an error of its own."""
    path = fake_bench.payloads.plain(
        "trap 'exit 0' TERM\necho last words >&2\ntouch runs\nwhile :; do sleep 0.1; done", "payload.sh"
    )

    def strike() -> None:
        wait_until(lambda: runs(fake_bench))
        fake.cancel(fake.jobs()[0].id)
        fake.accounting_away()
        fake.fail("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller")

    with once_it_runs(strike):
        failed, failure = failing(fake_bench, path)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("JobInterrupted", "interrupted")
    says(failed, node=None, command="payload.sh", last="last words")
    assert "nobody can say why" in failed.text
    assert failure.allow_retries


@pytest.mark.slow
def test_a_job_that_vanishes(fake_bench: Bench, fake: FakeSlurm) -> None:
    path = fake_bench.payloads.plain(SLEEPS)

    def strike() -> None:
        wait_until(lambda: runs(fake_bench))
        fake.accounting_away()
        fake.fail_node(fake.jobs()[0].id)
        fake.purge(fake.jobs()[0].id)

    with once_it_runs(strike):
        failed, failure = failing(fake_bench, path)
    assert (failed.metadata["slurm/error"], failed.metadata["slurm/cause"]) == ("JobLost", "lost")
    says(failed, node=None, command="payload.py", last="last words")
    assert failure.allow_retries


# --- never begun

REFUSED = {
    "partition": ({"partition": "nowhere"}, "invalid partition", "sinfo"),
    "account": ({"account": "nobody"}, "Invalid account", "sacctmgr"),
    "qos": ({"qos": "nothing"}, "Invalid qos", "qos"),
    "memory": ({"mem": "900G"}, "", "sinfo"),
    "constraint": ({"constraint": "unobtainium"}, "feature", "sinfo"),
    "nodes": ({"nodelist": "nonode99"}, "node", "sinfo -N"),
    "gpus": ({"gpus_per_node": "h100:4"}, "", "sinfo"),
}


@pytest.mark.cluster
@pytest.mark.parametrize("what", REFUSED)
def test_a_submission_that_slurm_refuses(cluster_bench: Bench, what: str) -> None:
    asked, told, hint = REFUSED[what]
    failed, failure = failing(cluster_bench, ["true"], resources=Resources(**asked))
    assert failed.metadata["slurm/error"] == "SubmissionRefused"
    assert failed.text.startswith("Slurm refused the job: ")
    assert told.lower() in failed.text.lower()
    assert "  command: sbatch --parsable job.sh" in failed.text
    assert hint in failed.metadata["slurm/what_to_do"]
    assert not failure.allow_retries
