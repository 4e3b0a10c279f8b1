"""Starting processes: the supervisor of a job, and the batch shell."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from . import script, text
from .environment import slurm_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Job
    from .state import State

CONTROL = 3  # the supervisor's file descriptor of the job's control pipe
MAIN = Path(__file__).with_name("main.py")


def start_supervisor(state: State, job_id: int) -> int:
    """A process of its own, in a session of its own, that keeps nothing of ours open."""
    control = os.open(state.job_directory(job_id) / "control", os.O_RDWR | os.O_NONBLOCK)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.chdir("/")
            _only_fds(control)
            command = [sys.executable, "-ISB", str(MAIN), "supervise", str(state.directory), str(job_id)]
            os.execve(command[0], command, {"PATH": "/usr/bin:/bin", "TZ": os.environ.get("TZ", "")})
        finally:
            os._exit(127)
    os.close(control)
    return pid


def _only_fds(control: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(control, CONTROL)
    os.closerange(CONTROL + 1, 256)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def output_paths(job: Job, **more: str) -> tuple[str, str]:
    """The names of stdout and stderr."""
    node = text.first_node(job.node_list)
    symbols = {
        "A": str(job.id),
        "J": str(job.id),
        "N": node,
        "a": "4294967294",
        "j": str(job.id),
        "n": "0",
        "s": "batch",
        "t": "0",
        "u": job.user,
        "x": job.name,
        **more,
    }
    output = os.path.join(job.workdir, script.file_name(job.output, symbols))  # noqa: PTH118
    error = os.path.join(job.workdir, script.file_name(job.error, symbols)) if job.error else output  # noqa: PTH118
    return output, error


def start_shell(state: State, job: Job, run: int) -> tuple[int, int]:
    """The batch script, in a session of its own. Returns its pid and its stderr; OSError if that cannot be opened."""
    environment = json.loads((state.job_directory(job.id) / "environment.json").read_text())
    out, err = _open_files(state, job)
    pid = os.fork()
    if pid == 0:
        _become_shell(state, job, run, environment, (out, err))
    if out != err:
        os.close(out)
    return pid, err


def _open_files(state: State, job: Job) -> tuple[int, int]:
    output, error = output_paths(job)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if job.open_mode == "a" else os.O_TRUNC)
    out = os.open(output, flags, 0o644)
    return out, out if error == output else os.open(error, flags, 0o644)


def _become_shell(state: State, job: Job, run: int, environment: dict[str, str], files: tuple[int, int]) -> None:
    program = str(state.job_directory(job.id) / "slurm_script")
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        for target, source in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
            os.dup2(source, target)
        _change_directory(job.workdir)
        os.execve(
            program, [program, *job.script_args], {**environment, **slurm_variables(state, job, run, os.getpid())}
        )
    except OSError as error:
        note(2, f"error: execve(): {_interpreter(program)}: {error.strerror}")
    finally:
        os._exit(2)


def _interpreter(program: str) -> str:
    with open(program, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return f"bad interpreter({file.readline()[2:].strip()})"


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as problem:
        note(2, f"error: couldn't chdir to `{path}': {problem.strerror}: going to /tmp instead")
        os.chdir("/tmp")


def note(fd: int, message: str) -> None:
    """What slurmstepd writes into the job's own stderr."""
    os.write(fd, f"slurmstepd: {message}\n".encode())


def cancel_message(job: Job, why: str, step: str = "") -> str:
    when = time.strftime(text.ISO)
    what = f"STEP {job.id}{step}" if step else f"JOB {job.id}"
    return f"error: *** {what} ON {text.first_node(job.node_list)} CANCELLED AT {when}{why} ***"
