from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from .fake import FakeSlurm
from .program import processes, script
from .program.options import UsageError
from .shell import NAP, TRAPS, Shell, running, until

# -- reading scripts


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--comment='a b' -J x", ["--comment=a b", "-J", "x"]),
        ('--comment="it\'s"', ["--comment=it's"]),
        (r"--comment=\"a\ b\\", ['--comment="a b\\']),
        (r"--comment='a\'b'", ["--comment=a'b"]),
        ("--mem=1G # much", ["--mem=1G"]),
        ("-J a#b", ["-J", "a"]),
        ("-J 'a#b'", ["-J", "a#b"]),
    ],
)
def test_quoting_of_directives(line: str, words: list[str]) -> None:
    assert script.directives(f"#!/bin/sh\n#SBATCH {line}\n", "job.sh") == words


def test_directives_end_at_the_first_command() -> None:
    text = "#!/bin/sh\n#SBATCH -J a\n\n# comment\n#SBATCH -t 1\n ##SBATCH -N2\necho\n#SBATCH -J b\n"
    assert script.directives(text, "job.sh") == ["-J", "a", "-t", "1"]


def test_unmatched_quote_is_fatal() -> None:
    with pytest.raises(UsageError, match="Unmatched `'`"):
        script.directives("#!/bin/sh\n#SBATCH -J 'a\n", "job.sh")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("o-%j-%x.txt", "o-7-n.txt"), ("100%%", "100%"), ("%4j", "0007"), (r"a\%j", "a%j"), ("%z", "%z")],
)
def test_output_names(pattern: str, name: str) -> None:
    assert script.file_name(pattern, {"j": "7", "x": "n"}) == name


# -- a healthy cluster


def test_a_job_runs_and_is_accounted_for(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit("echo $SLURM_JOB_ID $SLURM_JOB_NAME $SLURM_JOB_NODELIST; exit 3", "-J n", "-o %x-%j.out")
    fake.wait(job_id, "FAILED")
    assert shell.text(f"n-{job_id}.out") == f"{job_id} n node1\n"
    assert shell.queue("%i|%T|%r|%R") == [f"{job_id}|FAILED|NonZeroExitCode|(NonZeroExitCode)"]
    assert shell.accounts("JobID,State,ExitCode") == [f"{job_id}|FAILED|3:0", f"{job_id}.batch|FAILED|3:0"]
    assert shell.accounts("JobID,State", "-X", "--name=n") == [f"{job_id}|FAILED"]
    assert shell("squeue", "-h").stdout == ""


def test_the_command_line_wins_over_environment_and_script(fake: FakeSlurm, shell: Shell) -> None:
    path = shell.script("true", "-J a", "-p debug", "--comment=c")
    done = shell("sbatch", "--parsable", "-J", "b", path, SBATCH_JOB_NAME="e", SBATCH_PARTITION="gpu")
    job = fake.job(int(done.stdout))
    assert (job.name, job.partition, job.comment) == ("b", "gpu", "c")


def test_export_none_hides_the_submitter(fake: FakeSlurm, shell: Shell) -> None:
    body = "echo ${SECRET-none} $SLURM_EXPORT_ENV"
    for mode in ("ALL", "NONE"):
        fake.wait(shell.submit(body, f"--export={mode}", "-o", f"{mode}.txt", SECRET="s"), "COMPLETED")
    assert (shell.text("ALL.txt"), shell.text("NONE.txt")) == ("s ALL\n", "none NONE\n")


def test_refusals_of_a_healthy_cluster(shell: Shell) -> None:
    done = shell("sbatch", "--parsable", "-p", "nowhere", shell.script("true"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("Batch job submission failed: Invalid partition name specified\n")
    assert "unrecognized option '--nonsense'" in shell("sbatch", "--nonsense").stderr
    (shell.directory / "plain").write_text("echo\n")
    assert "does not look like a batch script" in shell("sbatch", "plain").stderr


def test_unknown_ids(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit(NAP)
    assert shell("squeue", "-h", "-j", "998,999").returncode == 0  # as in 22.05: only a single unknown id is an error
    unknown = shell("squeue", "-h", "-j", "999")
    assert (unknown.returncode, unknown.stderr) == (1, "slurm_load_jobs error: Invalid job id specified\n")
    assert shell("squeue", "-h", "-o", "%i", "-j", f"{job_id},999").stdout == f"{job_id}\n"
    assert shell("scancel", "999").returncode == 0
    assert shell("scontrol", "show", "job", "999").returncode == 1
    assert shell.accounts("JobID", "-j", "999") == []


def test_finished_jobs_are_forgotten(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit("true")
    fake.wait(job_id, "COMPLETED")
    assert shell.queue("%i") == [str(job_id)]
    fake.configure(min_job_age=0)
    assert shell.queue("%i") == []
    assert shell.accounts("JobID", "-X") == [str(job_id)]


def test_versions_and_ping(shell: Shell) -> None:
    assert shell("sbatch", "--version").stdout == "slurm 22.05.8\n"
    assert "ClusterName             = fake\n" in shell("scontrol", "show", "config").stdout
    assert shell("scontrol", "ping").stdout.startswith("Slurmctld(primary) at ")
    assert shell("sinfo", "-h", "-o", "%R|%D").stdout.splitlines()[0] == "debug|4"


def test_the_log_of_calls(fake: FakeSlurm, shell: Shell) -> None:
    shell("squeue", "-h", "--me")
    shell("sacct")
    (call,) = fake.calls("squeue")
    assert call.argv == ["-h", "--me"]
    assert call.ppid == os.getpid()
    assert [call.command for call in fake.calls()] == ["squeue", "sacct"]


def test_eight_submit_at_once(fake: FakeSlurm, shell: Shell) -> None:
    path = shell.script("exit 0", "-o /dev/null")
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(shell, "sbatch", "--parsable", path) for _ in range(24)]
    replies = [future.result().stdout for future in futures]
    assert sorted(map(int, replies)) == list(range(1, 25))
    for number in range(1, 25):
        fake.wait(number, "COMPLETED")


# -- pending, cancelled, out of time


def test_pending_with_reason_and_start(fake: FakeSlurm, shell: Shell) -> None:
    fake.configure(pending_time=None, pending_reason="Resources")
    job_id = shell.submit("true")
    assert shell.queue("%T|%r|%R|%S") == ["PENDING|Resources|(Resources)|N/A"]
    fake.release(job_id)
    fake.wait(job_id, "COMPLETED")
    assert shell.submit("true")
    fake.configure(pending_time=0.2)
    late = shell.submit("true")
    assert fake.job(late).state == "PENDING"
    assert fake.wait(late, "COMPLETED").start - fake.job(late).submit >= 0.2


def test_cancel_terms_the_shell_only_then_kills_all(fake: FakeSlurm, shell: Shell) -> None:
    body = "trap 'echo shell' TERM\nbash -c 'trap \"echo child\" TERM; for i in {1..99}; do sleep 0.1; done' &\n"
    job_id = shell.submit(body + "echo go\nwhile :; do wait; done", "-o out.txt")
    until(lambda: "go" in shell.text("out.txt"))
    assert shell("scancel", str(job_id)).returncode == 0
    assert shell.queue("%T") == ["COMPLETING"]
    fake.wait(job_id, "CANCELLED")
    assert "shell" in shell.text("out.txt")
    assert "child" not in shell.text("out.txt")
    assert "CANCELLED AT" in shell.text("out.txt")
    assert shell.accounts("State") == [f"CANCELLED by {os.getuid()}", "CANCELLED"]


def test_a_trapped_cancel_leaves_exit_code_zero(fake: FakeSlurm, shell: Shell) -> None:
    job_id = running(fake, shell, TRAPS)
    shell("scancel", "--name=job.sh", "--me")
    fake.wait(job_id, "CANCELLED")
    assert shell.accounts("ExitCode", "-X") == ["0:0"]
    assert "saved" in shell.text(f"slurm-{job_id}.out")


def test_cancel_by_state_spares_running_jobs(fake: FakeSlurm, shell: Shell) -> None:
    first = running(fake, shell, NAP)
    fake.configure(pending_time=None)
    second = shell.submit(NAP)
    shell("scancel", "--state=PENDING", "--me")
    fake.wait(second, "CANCELLED")
    assert fake.job(first).state == "RUNNING"
    assert shell.accounts("Start", "-X", "-j", str(second)) == ["None"]


def test_signals_to_the_batch_shell(fake: FakeSlurm, shell: Shell) -> None:
    job_id = running(fake, shell, "trap 'echo one; exit 4' USR1; " + NAP)
    shell("scancel", "--signal=USR1", str(job_id))  # to the steps, of which there are none
    shell("scancel", "--signal=USR1", "--batch", str(job_id))
    assert fake.wait(job_id, "FAILED").exit == [4, 0]


def test_time_limit_and_warning(fake: FakeSlurm, shell: Shell) -> None:
    fake.configure(seconds_per_minute=0.4)
    body = "trap 'echo soon' USR1; trap 'echo end; exit 0' TERM; while :; do sleep 30 & wait; done"
    job_id = shell.submit(body, "-t 1", "--signal=B:USR1@30", "-o out.txt")
    fake.wait(job_id, "TIMEOUT")
    assert [line for line in shell.text("out.txt").splitlines() if "slurm" not in line] == ["soon", "end"]
    assert "DUE TO TIME LIMIT" in shell.text("out.txt")
    assert shell.accounts("State,ExitCode", "-X") == ["TIMEOUT|0:0"]


def test_the_session_is_gone_after_the_end(fake: FakeSlurm, shell: Shell) -> None:
    job_id = shell.submit("setsid sleep 30 & exit 0")
    fake.wait(job_id, "COMPLETED")
    assert processes.members(processes.run_mark(fake.state.directory, job_id, 1)) == []


def test_steps(fake: FakeSlurm, shell: Shell) -> None:
    body = f"{fake.bin}/srun -n2 bash -c 'echo $SLURM_PROCID; exit 5' | sort; echo ${{PIPESTATUS[0]}}"
    job_id = shell.submit(body, "-o out.txt", "-e err.txt")
    fake.wait(job_id, "COMPLETED")
    assert shell.text("out.txt") == "0\n1\n5\n"
    assert shell.accounts("JobID,State,ExitCode")[2] == f"{job_id}.0|FAILED|5:0"


def test_term_to_srun_kills_the_step(fake: FakeSlurm, shell: Shell) -> None:
    step = f"{fake.bin}/srun bash -c 'trap \"exit 6\" TERM; touch begun; sleep 30 & wait' & "
    job_id = running(fake, shell, step + "until [ -e begun ]; do sleep 0.02; done; kill $!; wait $!; echo $?", "-e err")
    fake.wait(job_id, "COMPLETED")
    assert shell.text(f"slurm-{job_id}.out") == "137\n"


def test_a_step_of_a_cancelled_job(fake: FakeSlurm, shell: Shell) -> None:
    job_id = running(fake, shell, f"{fake.bin}/srun bash -c 'touch begun; sleep 30'")
    shell("scancel", str(job_id))
    fake.wait(job_id, "CANCELLED")
    assert shell.accounts("State,ExitCode")[1:] == ["CANCELLED|0:15", "CANCELLED|0:15"]


def test_term_to_a_step(fake: FakeSlurm, shell: Shell) -> None:
    step = f"{fake.bin}/srun bash -c 'trap \"exit 6\" TERM; echo go; sleep 30 & wait'; echo $?"
    job_id = shell.submit(step, "-o out.txt", "-e err.txt")
    until(lambda: "go" in shell.text("out.txt"))
    shell("scancel", "--signal=TERM", f"{job_id}.0")
    fake.wait(job_id, "COMPLETED")
    assert shell.text("out.txt") == "go\n6\n"
