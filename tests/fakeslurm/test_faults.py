from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from .fake import FakeSlurm, install
from .program import processes
from .shell import NAP, TRAPS, UNTIL_GO, Shell, running, until

# -- the controller's doing


def test_requeue_runs_the_same_id_again(fake: FakeSlurm, shell: Shell) -> None:
    body = "echo run ${SLURM_RESTART_COUNT:-0}; touch begun; [ $SLURM_RESTART_COUNT ] || sleep 30"
    job_id = running(fake, shell, body, "--open-mode=append", "--requeue")
    assert shell("scontrol", "requeue", str(job_id)).returncode == 0
    fake.wait(job_id, "COMPLETED")
    lines = [line for line in shell.text(f"slurm-{job_id}.out").splitlines() if line.startswith("run")]
    assert lines == ["run 0", "run 1"]
    assert "Restarts=1" in shell("scontrol", "show", "job", str(job_id)).stdout
    assert shell.accounts("State", "-X", "-D") == ["REQUEUED", "COMPLETED"]


def test_steps_of_a_requeued_job(fake: FakeSlurm, shell: Shell) -> None:
    step = f"{fake.bin}/srun bash -c 'touch begun; sleep 30'"
    job_id = running(fake, shell, f"[ $SLURM_RESTART_COUNT ] || {step}", "--requeue", "--open-mode=append")
    fake.requeue(job_id)
    fake.wait(job_id, "COMPLETED")
    assert "Traceback" not in shell.text(f"slurm-{job_id}.out")
    rows = shell.accounts("JobID,State,ExitCode", "-D")
    assert rows[1:3] == [f"{job_id}.batch|CANCELLED|0:15", f"{job_id}.0|CANCELLED|0:15"]
    assert rows[3:] == [f"{job_id}|COMPLETED|0:0", f"{job_id}.batch|COMPLETED|0:0"]


def test_a_finished_job_can_be_requeued(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit("echo run ${SLURM_RESTART_COUNT:-0}", "--open-mode=append", "--requeue")
    fake.wait(job_id, "COMPLETED")
    assert shell("scontrol", "requeue", str(job_id)).returncode == 0
    until(lambda: fake.job(job_id).state == "COMPLETED" and fake.job(job_id).restarts == 1)
    assert shell.text(f"slurm-{job_id}.out") == "run 0\nrun 1\n"


def test_no_requeue_is_respected(fake: FakeSlurm, shell: Shell) -> None:
    job_id = running(fake, shell, NAP, "--no-requeue")
    assert shell("scontrol", "requeue", str(job_id)).returncode == 1
    fake.preempt(job_id)
    fake.wait(job_id, "PREEMPTED")


def test_node_failure(fake: FakeSlurm, shell: Shell) -> None:
    job_id = running(fake, shell, TRAPS, "--no-requeue")
    fake.fail_node(job_id)
    fake.wait(job_id, "NODE_FAIL")
    assert "saved" not in shell.text(f"slurm-{job_id}.out")


def test_a_node_that_only_seemed_lost(fake: FakeSlurm, shell: Shell) -> None:
    body = f"{UNTIL_GO}; echo end ${{SLURM_RESTART_COUNT:-0}}"
    job_id = running(fake, shell, body, "--requeue", "--open-mode=append")
    fake.fail_node(job_id, survive=True)
    fake.wait(job_id, "RUNNING")
    (shell.directory / "go").touch()
    fake.wait(job_id, "COMPLETED")
    until(lambda: sorted(shell.text(f"slurm-{job_id}.out").splitlines()) == ["end 0", "end 1"])


@pytest.mark.parametrize("whole", [True, False])
def test_out_of_memory(fake: FakeSlurm, shell: Shell, whole: bool) -> None:
    job_id = running(fake, shell, "touch begun; sleep 30; exit 0")
    fake.out_of_memory(job_id, whole=whole)
    fake.wait(job_id, "OUT_OF_MEMORY")
    assert shell.accounts("State,ExitCode", "-X") == ["OUT_OF_MEMORY|0:125"]
    assert "oom-kill" in shell.text(f"slurm-{job_id}.out")


def test_a_duplicate_run(fake: FakeSlurm, shell: Shell) -> None:
    job_id = running(fake, shell, f"echo run; {UNTIL_GO}", "--open-mode=append")
    fake.duplicate(job_id)
    until(lambda: shell.text(f"slurm-{job_id}.out").splitlines() == ["run", "run"])
    assert fake.job(job_id).state == "RUNNING"
    (shell.directory / "go").touch()
    fake.wait(job_id, "COMPLETED")


def test_unknown_state_and_completing(fake: FakeSlurm, shell: Shell) -> None:
    fake.configure(completing_time=30)
    job_id = running(fake, shell, UNTIL_GO)
    fake.show_state(job_id, "WIBBLE")
    assert shell("squeue", "-h", "-o", "%T").stdout == "WIBBLE\n"
    fake.show_state(job_id, "WIBBLE", seconds=0)
    (shell.directory / "go").touch()
    fake.wait(job_id, "COMPLETED")
    assert shell("squeue", "-h", "-o", "%T").stdout == "COMPLETING\n"
    assert shell.accounts("State", "-X") == ["COMPLETED"]


def test_files_that_cannot_be_opened(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit("true", "-o /nonexistent/out.txt")
    assert fake.wait(job_id, "FAILED").exit == [0, 53]


# -- faults of commands


def test_failures_are_counted(fake: FakeSlurm, shell: Shell) -> None:
    fake.controller_away(times=1)
    assert shell("squeue").stderr == "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    assert shell("squeue").returncode == 0
    fake.accounting_away(seconds=3600)
    assert shell("sacct").returncode == 1
    fake.heal()
    fake.accounting_away(seconds=0)
    assert shell("sacct").returncode == 0
    fake.fail("squeue", stderr="no", rc=7, skip=1, times=1)
    assert [shell("squeue").returncode for _ in range(3)] == [0, 7, 0]


def test_hang_and_heal(fake: FakeSlurm, shell: Shell) -> None:
    fake.hang("squeue", 0.6)
    begin = time.monotonic()
    shell("squeue")
    assert time.monotonic() - begin >= 0.6
    fake.hang("squeue", 60)
    fake.heal()
    begin = time.monotonic()
    shell("squeue")
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(("how", "rc"), [("error", 1), ("kill", -signal.SIGKILL), ("silent", 0)])
def test_lost_reply(fake: FakeSlurm, shell: Shell, how: str, rc: int) -> None:
    fake.lose_reply(how, times=1)
    done = shell("sbatch", "--parsable", shell.script("true"))
    assert (done.returncode, done.stdout) == (rc, "")
    fake.wait(1, "COMPLETED")


def test_late_landing(fake: FakeSlurm, shell: Shell) -> None:
    fake.land_late(3.0, times=1)
    assert shell("sbatch", "--parsable", shell.script("true")).returncode == 1
    shell("scancel", "--name=job.sh")
    assert shell.queue() == []
    assert shell.accounts("State") == []
    fake.wait(1, "COMPLETED")
    assert shell.queue() == ["COMPLETED"]


def test_banners(fake: FakeSlurm, shell: Shell) -> None:
    fake.banner("sbatch", stdout="Welcome to 2024", stderr="sbatch: note", times=1)
    fake.configure(parsable_cluster=True)
    done = shell("sbatch", "--parsable", shell.script("true"))
    assert (done.stdout, done.stderr) == ("Welcome to 2024\n1;fake\n", "sbatch: note\n")


def test_lag(fake: FakeSlurm, shell: Shell) -> None:
    fake.lag("squeue", 3600)
    job_id = running(fake, shell, NAP)
    begun = time.monotonic()
    assert shell.queue() == []
    assert shell.accounts("State", "-X") == ["RUNNING"]
    time.sleep(3)
    fake.cancel(job_id)
    fake.wait(job_id, "CANCELLED")
    fake.heal()
    fake.lag("squeue", time.monotonic() - begun)  # the job was running, and is cancelled three seconds later
    assert shell.queue() == ["RUNNING"]
    assert shell.accounts("State", "-X") == ["CANCELLED by 0"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("account", "Invalid account or account/partition combination specified"),
        ("AssocMaxSubmitJobLimit", "AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates"),
    ],
)
def test_refusals(fake: FakeSlurm, shell: Shell, reason: str, text: str) -> None:
    fake.refuse(reason, times=1)
    done = shell("sbatch", "--parsable", shell.script("true"))
    assert (done.returncode, done.stdout) == (1, "")
    assert text in done.stderr
    assert fake.jobs() == []


def test_a_refusal_that_leaves_a_record(fake: FakeSlurm, shell: Shell) -> None:
    assert shell("sbatch", "--mem=1T", shell.script("true")).returncode == 1
    assert shell.queue("%T|%r", "--name=job.sh") == ["FAILED|BadConstraints"]
    assert shell.accounts("State,ExitCode,Start", "--name=job.sh")[0].startswith("FAILED|1:0|")


def test_incomplete_accounting(fake: FakeSlurm, shell: Shell) -> None:
    fake.wait(shell.submit("true"), "COMPLETED")
    fake.accounting_incomplete(times=2)
    assert shell.accounts("JobName,State", "-X", "-j", "1") == ["allocation|COMPLETED"]
    assert shell.accounts("JobName", "-X", "--name=job.sh") == []
    assert shell.accounts("JobName", "-X", "--name=job.sh") == ["job.sh"]


def test_purge(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit("true")
    fake.wait(job_id, "COMPLETED")
    fake.purge(job_id)
    assert shell("squeue", "-h", "-j", str(job_id), "--states=all").returncode == 1
    assert shell.accounts("State", "-X") == ["COMPLETED"]


def test_shutdown_leaves_nothing(tmp_path: Path) -> None:
    fake = install(tmp_path / "slurm")
    shell = Shell(fake, tmp_path)
    job_id = running(fake, shell, "setsid sleep 30 & touch begun; sleep 30")
    mark = processes.run_mark(fake.state.directory, job_id, 1)
    until(lambda: len(processes.members(mark)) == 3)
    fake.shutdown()
    assert not fake.root.exists()
    assert processes.members(mark) == []
