"""Rendered job scripts, really run by bash."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.core import script
from dagster_slurm.core.resources import Resources
from dagster_slurm.environments.environment import predeployed
from tests.core.rundirs import RunDirectory

Make = Callable[..., RunDirectory]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make run directories; their path has what may need quoting."""
    numbers = iter(range(1000))

    def run(*command: str, **more: Any) -> RunDirectory:
        return RunDirectory(tmp_path / f"a b'c\"d $x é {next(numbers)}", *command, **more)

    return run


def bash(text: str) -> tuple[str, ...]:
    return ("bash", "-c", text)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class TestEnds:
    @pytest.mark.parametrize("metered", [False, True])
    @pytest.mark.parametrize("code", [0, 3, 127, 126, 128, 200, 255])
    def test_exit_codes(self, make: Make, code: int, metered: bool) -> None:
        run = make(*bash(f"exit {code}"), metered=metered)
        assert run.run() == code
        ended = run.record.exit
        assert ended is not None
        assert (ended.code, ended.signalled, ended.signals, ended.phase) == (code, False, (), "payload")

    @pytest.mark.parametrize("metered", [False, True])
    def test_no_such_program(self, make: Make, metered: bool) -> None:
        run = make("/no/such program", metered=metered)
        assert run.run() == 127
        assert "/no/such program" in run.text("stderr.0")

    @pytest.mark.parametrize("metered", [False, True])
    def test_a_program_that_cannot_be_executed(self, make: Make, metered: bool, tmp_path: Path) -> None:
        (tmp_path / "plain").write_text("data")
        run = make(str(tmp_path / "plain"), metered=metered)
        assert run.run() == 126
        assert "plain" in run.text("stderr.0")

    @pytest.mark.parametrize("metered", [False, True])
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
    def test_killed_by_a_signal_of_its_own(self, make: Make, number: int, metered: bool) -> None:
        run = make(*bash(f"kill -{int(number)} $$; sleep 5"), metered=metered)
        assert run.run() == 128 + number
        ended, usage = run.record.exit, run.record.usage
        assert ended is not None
        assert (ended.signalled, ended.signals) == (True, ())
        assert (usage.signal if usage else None) == (number if metered else None)

    def test_sizes_and_figures(self, make: Make) -> None:
        text = (
            f"printf abc; printf de >&2; printf xyz >>../messages.jsonl; {sys.executable} -c 'b = bytearray(60 << 20)'"
        )
        run = make(*bash(text), metered=True)
        run.run()
        ended, usage, begun = run.record.exit, run.record.usage, run.record.start
        assert ended is not None
        assert ended.sizes == {"stdout": 3, "stderr": 2, "messages": 3}
        assert begun is not None
        assert begun.time <= ended.time < begun.time + 20
        assert begun.node
        assert usage is not None
        assert usage.peak_kib > 60 << 10
        assert usage.cpu > 0

    def test_the_record_is_json_whatever_the_locale(self, make: Make) -> None:
        run = make("true")
        run.run(env={"LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"})
        for line in run.text("record.jsonl").splitlines():
            assert isinstance(json.loads(line)["time"], float)

    def test_children_left_behind_are_ended(self, make: Make) -> None:
        run = make(*bash("sleep 60 & echo $!; exit 0"))
        assert run.run() == 0
        assert not alive(int(run.stdout))

    def test_many_words_and_odd_ones(self, make: Make) -> None:
        words = ["", " ", "a b", "it's", '"', "\\", "$HOME", "`id`", "*", "é日本", "-n", "a\nb", "\t", "!", "#", "~"]
        run = make(sys.executable, "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *words)
        assert run.run() == 0
        assert json.loads(run.stdout) == words

    def test_a_program_whose_name_begins_with_a_dash(self, make: Make, tmp_path: Path) -> None:
        program = tmp_path / "-c"
        program.write_text("#!/bin/sh\necho ran $1\n")
        program.chmod(0o755)
        run = make("-c", "x", environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        assert run.run() == 0
        assert run.stdout == "ran x\n"

    def test_standard_input_is_empty(self, make: Make) -> None:
        run = make("cat")
        assert run.run() == 0
        assert run.stdout == ""

    def test_it_works_without_the_meters_python(self, make: Make) -> None:
        run = make("echo", "hello", meter=("/no/python3", "meter.py"))
        assert run.run() == 0
        assert run.stdout == "hello\n"


class TestEnvironment:
    # names that a script could be tempted to use itself
    NAMES = """
        JOB NODE RESTART PAYLOAD SIGNALS COMMAND METER RUN_DIR WARNING SYNC KILL_AFTER code status size text phase
        signals signalled winner line init record finish PATH_FIRST ENVIRONMENT
    """.split()

    def test_values_arrive_as_they_are_and_disturb_nothing(self, make: Make) -> None:
        wanted = {name: f"my {name}" for name in self.NAMES}
        wanted |= {"ODD": 'it\'s "quoted" $HOME `id` \\ \n é * !', "EMPTY": "", "IFS": ","}
        run = make(sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))", environment=wanted)
        assert run.run(env=dict.fromkeys(self.NAMES, "outer")) == 0
        got = json.loads(run.stdout)
        assert {name: got.get(name) for name in wanted} == wanted
        assert run.record.exit is not None
        assert run.record.starts[0].job == got["DAGSTER_SLURM_JOB_ID"]
        assert not [name for name in got if name.startswith("_ds_")]

    def test_variables_of_an_outer_shell_stay_as_they_were(self, make: Make) -> None:
        outer = {name: f"outer {name}" for name in self.NAMES}
        run = make(sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))")
        assert run.run(env=outer) == 0
        got = json.loads(run.stdout)
        assert {name: got.get(name) for name in outer} == outer

    def test_where_it_runs_and_what_it_is_told(self, make: Make) -> None:
        run = make(*bash("pwd; echo $DAGSTER_SLURM_JOB_ID $DAGSTER_SLURM_RESTART $SLURM_EXPORT_ENV; cd ..; pwd"))
        assert run.run(job="77") == 0
        work, told, directory = run.stdout.splitlines()
        assert Path(work) == run.path / "work"
        assert told == "77 0 ALL"
        assert Path(directory) == run.path

    @pytest.mark.parametrize(
        ("first", "last", "outer", "expected"),
        [
            (("/first", "/a b"), ("/last",), "/mine:/too", "/first:/a b:/mine:/too:/last"),
            ((), ("/last",), "/mine", "/mine:/last"),
            ((), ("/last",), None, "/last"),
            (("/first",), (), None, "/first"),
            ((), (), "/mine", "/mine"),
            ((), (), ":/mine::", "/mine"),  # an empty entry would be the working directory
            ((), (), None, ""),
        ],
    )
    def test_order_of_the_python_path(
        self, make: Make, first: tuple[str, ...], last: tuple[str, ...], outer: str | None, expected: str
    ) -> None:
        mine = {"environment": {"PYTHONPATH": outer}} if outer else {}
        run = make(*bash('printf %s "$PYTHONPATH"'), python_path=(first, last), **mine)
        assert run.run() == 0
        assert run.stdout == expected

    def test_secrets_go_with_an_end_of_its_own(self, make: Make) -> None:
        run = make("false")
        run.run()
        assert not (run.path / "env.sh").exists()

    def test_secrets_stay_for_a_job_that_may_be_started_again(self, make: Make) -> None:
        run = make(*bash("echo up; sleep 60"))
        process = run.start()
        run.until_says("up")
        run.stop(process)
        assert (run.path / "env.sh").exists()

    def test_a_missing_env_sh_is_named(self, make: Make) -> None:
        run = make("true")
        (run.path / "env.sh").unlink()
        assert run.run() == 66
        assert run.exit_line()["phase"] == "environment"
        assert "env.sh" in run.exit_line()["text"]

    @pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
    def test_the_payload_has_the_submitters_umask_and_we_have_ours(self, make: Make, mask: int) -> None:
        run = make(*bash("umask; touch made"))
        run.run(umask=mask)
        assert int(run.stdout, 8) == mask
        assert (run.path / "work" / "made").stat().st_mode & 0o777 == 0o666 & ~mask
        run_again = make(*bash("exit 0"))
        (run_again.path / "record.jsonl").unlink()
        run_again.run(umask=mask)
        assert (run_again.path / "record.jsonl").stat().st_mode & 0o077 == 0


class TestPrelude:
    @pytest.mark.parametrize(
        ("lines", "code", "named"),
        [
            (("true", "false", "true"), 1, "false"),
            (("module_of_nobody load x",), 127, "module_of_nobody load x"),
            (("if true; then", "  (exit 7)", "fi"), 7, "(exit 7)"),
            (("work() { return 9; }", "work 'with quotes' \"and\\these\""), 9, "work 'with quotes'"),
            (("false | true", "true | false"), 1, "true | false"),
            (("cat >/dev/null <<X", "text", "X", "false"), 1, "false"),
            (("set -e", "false"), 1, "false"),
            ((". ./nothing.sh",), 1, ". ./nothing.sh"),
        ],
    )
    def test_a_failing_line_ends_the_job_and_is_named(
        self, make: Make, lines: tuple[str, ...], code: int, named: str
    ) -> None:
        run = make("echo", "ran", prelude=lines)
        assert run.run() == code
        ended = run.record.exit
        assert ended is not None
        assert (ended.code, ended.signalled, ended.phase) == (code, False, "prelude")
        assert named in ended.text
        assert ended.text in run.text("stderr.0")
        assert "ran" not in run.stdout
        assert not list(run.path.glob("early.*"))

    @pytest.mark.parametrize(
        ("lines", "code"),
        [
            (("exit 5",), 5),
            (("exit 0",), 1),  # the payload did not run: no success
            (("return 0",), 1),
            (("set -u", 'echo "$NOBODY_KNOWS"'), None),
            (("if true; then",), None),  # cannot be parsed
            (("}",), None),
            (("echo 'unfinished",), None),
            (("exec true",), 0),
        ],
    )
    def test_lines_that_leave(self, make: Make, lines: tuple[str, ...], code: int | None) -> None:
        run = make("echo", "ran", prelude=lines)
        found = run.run()
        ended = run.record.exit
        assert ended is not None
        assert ended.code == found
        if lines != ("exec true",):
            assert found == code if code is not None else found > 0
            assert ended.phase == "prelude"
        assert "ran" not in run.stdout

    @pytest.mark.parametrize(
        "lines",
        [
            ("set -euo pipefail", "set -x", "set -f", "set -C"),
            ("cd /", "umask 0"),
            ("trap 'echo mine' EXIT TERM ERR",),
            ("exec >/dev/null",),
            ("_ds_finish() { :; }", "_ds_restart=7", "_ds_signals=TERM"),
            ("shopt -s nullglob", "IFS=:", "shopt -s expand_aliases", "alias exit=true"),
            ("false || true", "if false; then :; fi", "! true", "while false; do :; done"),
        ],
    )
    def test_nothing_in_it_reaches_the_supervisor(self, make: Make, lines: tuple[str, ...]) -> None:
        run = make(*bash("echo ran >&2; exit 4"), prelude=lines)
        assert run.run() == 4
        ended = run.record.exit
        assert ended is not None
        assert (ended.code, ended.signalled, ended.phase, ended.restart) == (4, False, "payload", 0)
        assert "ran" in run.text("stderr.0")

    def test_a_file_that_it_reads_may_have_failing_lines(self, make: Make, tmp_path: Path) -> None:
        """conda's and Intel's scripts do; line numbers there are not ours."""
        (tmp_path / "setup.sh").write_text("false\ntest -n ''\necho args $#\nexport FOUND=yes\n")
        run = make(*bash("echo $FOUND"), prelude=(f"source {tmp_path}/setup.sh",))
        assert run.run() == 0
        assert run.stdout == "args 0\nyes\n"

    def test_what_it_exports_reaches_the_payload_and_the_users_variables_win(self, make: Make) -> None:
        run = make(*bash("echo $A $B"), prelude=("export A=prelude", "declare -x B=too"), environment={"A": "mine"})
        assert run.run() == 0
        assert run.stdout == "mine too\n"

    def test_module_is_there(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "init").mkdir()
        (tmp_path / "init" / "bash").write_text(
            'module() { [ "$2" != gone ] || { echo "no module $2" >&2; return 1; }; export LOADED=$2; }\n'
        )
        good = make(*bash("echo $LOADED"), prelude=("module load gcc",))
        assert good.run(env={"MODULESHOME": str(tmp_path)}) == 0
        assert good.stdout == "gcc\n"
        bad = make("true", prelude=("module load gcc", "module load gone"))
        assert bad.run(env={"MODULESHOME": str(tmp_path)}) == 1
        assert bad.exit_line()["text"] == "module load gone"
        assert "no module gone" in bad.text("stderr.0")

    def test_activation(self, make: Make, tmp_path: Path) -> None:
        nowhere = make("true", activate=predeployed(str(tmp_path / "nowhere")).lines)
        assert nowhere.run() == 66
        assert nowhere.exit_line()["phase"] == "environment"
        assert "nowhere" in nowhere.exit_line()["text"]
        (tmp_path / "env").mkdir()
        (tmp_path / "env" / "activate.sh").write_text("false\nexport ACTIVE=1\n")
        there = make(*bash("echo $ACTIVE $ENVIRONMENT"), activate=predeployed(str(tmp_path / "env")).lines)
        assert there.run(env={"ENVIRONMENT": "production"}) == 0
        assert there.stdout == "1 production\n"


SAVES = "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"


class TestSignals:
    @pytest.mark.parametrize("metered", [False, True])
    def test_term_reaches_the_payload_and_the_exit_line_says_so(self, make: Make, metered: bool) -> None:
        run = make(*bash(SAVES), metered=metered)
        process = run.start()
        run.until_says("up")
        assert run.stop(process) == 0
        ended = run.record.exit
        assert ended is not None
        assert (ended.code, ended.signalled, ended.signals) == (0, True, ("TERM",))
        assert "saved" in run.stdout
        assert ended.sizes["stdout"] == len(run.stdout)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_payload_that_knows_nothing_of_signals(self, make: Make, number: signal.Signals) -> None:
        run = make(*bash("echo up; exec sleep 60"), metered=True)
        process = run.start()
        run.until_says("up")
        code = run.stop(process, number)
        # a shell lets what runs beside it ignore INT
        assert code == 128 + number
        ended = run.record.exit
        assert ended is not None
        assert (ended.signalled, ended.signals) == (True, (number.name[3:],))

    def test_it_has_a_process_group_of_its_own(self, make: Make) -> None:
        run = make(sys.executable, "-c", "import os; print(os.getpid(), os.getpgrp())")
        process = run.start()
        process.wait(20)
        pid, group = map(int, run.stdout.split())
        assert group == pid
        assert process.pid != pid

    def test_signals_reach_all_of_the_group(self, make: Make) -> None:
        run = make(
            *bash("bash -c \"trap 'echo child; exit' TERM; echo up; sleep 60 & wait\" & trap : TERM; wait; wait")
        )
        process = run.start()
        run.until_says("up")
        run.stop(process)
        assert "child" in run.stdout

    def test_a_warning_is_handed_on_and_does_not_make_the_end_doubtful(self, make: Make) -> None:
        text = "trap 'echo warned' USR1; echo up; sleep 0.4 & wait; wait; exit 0"
        run = make(*bash(text), resources=Resources(signal_before_timeout="USR1@60"), metered=True)
        process = run.start()
        run.until_says("up")
        assert run.stop(process, signal.SIGUSR1) == 0
        ended = run.record.exit
        assert ended is not None
        assert (ended.signalled, ended.signals) == (False, ("USR1",))
        assert "warned" in run.stdout

    def test_several_signals_are_written_down_in_order(self, make: Make) -> None:
        text = "trap 'echo usr' USR1; trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.02; done"
        run = make(*bash(text), resources=Resources(signal_before_timeout="USR1@60"))
        process = run.start()
        run.until_says("up")
        process.send_signal(signal.SIGUSR1)
        run.until_says("usr")
        assert run.stop(process) == 7
        ended = run.record.exit
        assert ended is not None
        assert ended.signals == ("USR1", "TERM")

    def test_who_ignores_term_is_killed_beside_dagster(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(script, "LOCAL_KILL_WAIT", 1)
        run = make(*bash("trap '' TERM; echo up; sleep 60 & sleep 60"), metered=True)
        process = run.start()
        run.until_says("up")
        begun = time.monotonic()
        assert run.stop(process) == 128 + signal.SIGKILL
        assert 0.9 < time.monotonic() - begun < 30  # of sixty
        ended = run.record.exit
        assert ended is not None
        assert ended.signalled

    def test_under_slurm_killing_is_slurms_business(self, make: Make) -> None:
        assert "_ds_kill_after=\n" in make("true", slurm=True).text("job.sh")

    def test_term_during_the_prelude(self, make: Make) -> None:
        run = make("echo", "ran", prelude=("echo up", "sleep 60"))
        process = run.start()
        run.until_says("up")
        begun = time.monotonic()
        assert run.stop(process) == 143
        assert time.monotonic() - begun < 30  # of sixty
        ended = run.record.exit
        assert ended is not None
        assert (ended.signalled, ended.signals, ended.code) == (True, ("TERM",), 143)
        assert "ran" not in run.stdout
        assert (run.path / "env.sh").exists()

    @pytest.mark.parametrize("metered", [False, True])
    def test_200_terms_at_random_moments(self, make: Make, metered: bool) -> None:
        """A payload that exits 5 by itself, 6 on TERM; or one that TERM meets before it can answer."""
        dice, wrong = random.Random(7), []
        text = "trap 'exit 6' TERM; : ; exit 5"
        running: list[tuple[RunDirectory, subprocess.Popen[bytes], float]] = []
        for number in range(200 if not metered else 60):
            run = make(*bash(text), metered=metered)
            running.append((run, run.start(), time.monotonic() + dice.uniform(0.0, 0.03 if not metered else 0.06)))
            if len(running) == 4 or number == 199:
                for _, process, moment in running:
                    time.sleep(max(moment - time.monotonic(), 0))
                    if process.poll() is None:
                        process.send_signal(signal.SIGTERM)
                for other, process, _ in running:
                    wrong += judged(other, process.wait(20))
                running.clear()
        assert not wrong


def judged(run: RunDirectory, code: int) -> list[str]:
    """What is wrong with the end of a run that TERM met at some moment."""
    text = run.text("record.jsonl")
    ended = run.record.exit
    if ended is None:
        # before the traps were set: nothing had begun, and Slurm says why
        return [] if code == -signal.SIGTERM and '"start"' not in text else [f"{code}: {text}"]
    right = code in (ended.code, -signal.SIGTERM)
    right = right and ended.code in ((5, 6, 143) if ended.signalled else (5,))
    return [] if right else [f"{code}: {text}{run.text('slurm.log')}"]


class TestClaim:
    def test_a_second_job_writes_nothing(self, make: Make) -> None:
        run = make(*bash("echo once"))
        assert run.run(job="1") == 0
        before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
        assert run.run(job="2") == 0
        after = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
        assert {name for name in after if after[name] != before.get(name)} == set()
        assert run.text("claim").strip() == "1"

    def test_of_eight_jobs_at_once_one_runs(self, make: Make) -> None:
        run = make(*bash("echo $DAGSTER_SLURM_JOB_ID; sleep 0.1"), slurm=True)
        processes = [run.start(job=str(number)) for number in range(1, 9)]
        assert [process.wait(20) for process in processes] == [0] * 8
        assert len(run.stdout.split()) == 1
        assert run.text("claim").strip() == run.stdout.strip() == run.record.starts[0].job
        assert len(run.record.starts) == len(run.record.exits) == 1

    def test_a_restarted_job_writes_new_files(self, make: Make) -> None:
        run = make(*bash("echo of $DAGSTER_SLURM_RESTART; echo m >>../messages.jsonl; kill -9 $$"))
        assert run.run(job="1") == 137
        assert run.run(job="1", restart=1) == 137
        assert (run.text("stdout.0"), run.text("stdout.1")) == ("of 0\n", "of 1\n")
        assert (run.text("messages.0.jsonl"), run.text("messages.1.jsonl")) == ("m\n", "m\n")
        assert [start.restart for start in run.record.starts] == [0, 1]
        assert [ended.restart for ended in run.record.exits] == [0, 1]

    def test_an_end_by_itself_stands_if_slurm_starts_the_job_again(self, make: Make) -> None:
        run = make(*bash("echo ran"))
        assert run.run(job="1") == 0
        before = run.text("record.jsonl")
        assert run.run(job="1", restart=1) == 0
        assert run.text("record.jsonl") == before
        assert not (run.path / "stdout.1").exists()

    def test_a_missing_run_directory_is_named(self, make: Make) -> None:
        run = make("true")
        kept = run.path.parent / "job.sh"
        shutil.copy(run.path / "job.sh", kept)
        shutil.rmtree(run.path)
        done = subprocess.run(["bash", str(kept)], capture_output=True, text=True, check=False)
        assert done.returncode == 66
        assert str(run.path) in done.stderr


class TestSync:
    def test_files_are_synced_and_nothing_is_left_running(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "sync").write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/synced"\n')
        (tmp_path / "bin" / "sync").chmod(0o755)
        run = make(*bash("sleep 1.3"), sync=True)
        process = run.start(env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
        process.wait(20)
        lines = (tmp_path / "synced").read_text().splitlines()
        files = "stdout.0 stderr.0 messages.0.jsonl"
        assert lines[-2:] == [files, "record.jsonl"]
        assert lines.count(files) == 2
        run.until(lambda: not in_session(process.pid), timeout=3)


def in_session(session: int) -> list[str]:
    """Command lines of the processes of a session."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
    return found


def test_it_does_without_what_bash_3_2_lacks() -> None:
    """macOS has 3.2: read for what came later."""
    body = re.sub(r"(?m)^\s*#.*$", "", script._BODY)
    later = [
        r"wait -n", r"declare -A", r"local -n", r"\$\{\w+@", r"\$\{\w+,,", r"\$\{\w+\^\^", r"mapfile", r"readarray",
        r"&>>", r"\|&", r"coproc", r"printf '%\(", r"BASHPID", r"\[\[ -v", r"\$\{\w+\[-1\]", r";&", r"read -N",
    ]  # fmt: skip
    assert [pattern for pattern in later if re.search(pattern, body)] == []


def test_python_is_the_one_of_these_tests() -> None:
    assert sys.version_info >= (3, 10)
