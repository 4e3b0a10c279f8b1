"""What can be told without a cluster."""

import os
import subprocess
import sys

import pytest

from testcluster import ClusterOptions, processes
from testcluster.layout import MAX_STATE_PATH, Layout
from testcluster.sshd_conf import sshd_config


def test_options_survive_json() -> None:
    options = ClusterOptions(name="a", slurm_conf=("PriorityType=priority/basic",), max_sessions=1, accounting=False)
    assert ClusterOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "no/slash"}, "cluster name"),
        ({"name": "seventeen-letters"}, "at most 16"),
        ({"login_shell": "zsh"}, "bash, tcsh, fish"),
        ({"max_submit_jobs": 2, "accounting": False}, "needs accounting"),
    ],
)
def test_options_refuse_what_would_fail_later(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterOptions(**wrong)


def test_names_fit() -> None:
    layout = Layout.of("sixteen-letters-")
    assert len(os.fsencode(layout.root)) <= MAX_STATE_PATH
    assert len(layout.user) <= 32


def test_own_lines_win_in_sshd_config() -> None:
    options = ClusterOptions(sshd_config=("MaxSessions 3",))
    lines = sshd_config(options, Layout.of("a"), 22, recent=False).splitlines()
    assert lines.index("MaxSessions 3") < lines.index("MaxSessions 10")


def test_a_reused_process_id_is_not_ours(tmp_path) -> None:
    pid_file, log_file = tmp_path / "a.pid", tmp_path / "a.out"
    processes.start(["sleep", "60"], pid_file=pid_file, log_file=log_file, env={})
    pid = processes.recorded_pid(pid_file)
    assert pid is not None
    assert processes.writing_below(tmp_path) == [pid]

    _, start_time = pid_file.read_text().split()
    pid_file.write_text(f"{pid} {int(start_time) - 1}")
    assert processes.recorded_pid(pid_file) is None

    processes.stop([pid], patience=5)
    assert processes.writing_below(tmp_path) == []


def test_descendants_include_grandchildren() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert len(processes.descendants(child.pid)) == 1
        assert child.pid in processes.descendants(os.getpid())
        child.communicate(b"\n")
