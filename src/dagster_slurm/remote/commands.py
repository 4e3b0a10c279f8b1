"""Runs the scheduler's commands: found once, in a clean environment, never through a shell."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from typing import Dict, List, NamedTuple, Optional

#: settings of the user's dotfiles or of an outer job that would change what a command does or prints
_FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SALLOC_", "SCANCEL_", "SINFO_", "SRUN_", "SCONTROL_")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
#: what a job inherits from here. The rest of the login environment is not the job's business.
_INHERITED = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ", "MODULEPATH", "MODULESHOME", "KRB5CCNAME")
_INHERITED_PREFIXES = ("LC_", "LMOD_", "MODULES_", "__LMOD_", "_ModuleTable", "BASH_FUNC_module", "BASH_FUNC_ml")
_LOGIN_SHELL_TIMEOUT = 20.0

Result = NamedTuple("Result", [("code", Optional[int]), ("out", str), ("err", str)])
"""Exit code (None: it did not end in time), standard output and error."""


class CommandMissing(Exception):
    """There is no such command on this host."""


def clean_environment(environment: Dict[str, str]) -> Dict[str, str]:
    """Return an environment in which Slurm's commands do what their arguments say and nothing else."""
    return {name: value for name, value in environment.items() if name in _KEPT or not name.startswith(_FOREIGN)}


def job_environment(environment: Dict[str, str]) -> Dict[str, str]:
    """Return the few variables of a login environment that a job starts with."""
    names = _INHERITED + _KEPT
    return {name: value for name, value in environment.items() if name in names or name.startswith(_INHERITED_PREFIXES)}


class Commands:
    """The scheduler's commands on this host."""

    def __init__(self, environment: Dict[str, str]) -> None:
        self._environment = clean_environment(environment)
        self._found: Dict[str, str] = {}
        self._lock = threading.Lock()
        #: how often each command was run, for those who count
        self.counts: Dict[str, int] = {}

    def find(self, name: str) -> str:
        """Return a command's absolute path; often it is on a login shell's PATH only.

        Raises:
            CommandMissing: there is no such command.
        """
        with self._lock:
            if name not in self._found:
                path = shutil.which(name, path=self._environment.get("PATH")) or self._from_login_shell(name)
                if not path:
                    raise CommandMissing(name)
                self._found[name] = path
            return self._found[name]

    def run(self, argv: List[str], timeout: float, cwd: Optional[str] = None, job: bool = False) -> Result:
        """Run a command to its end, at most ``timeout`` seconds.

        Args:
            argv: the command's name and its arguments.
            timeout: seconds after which it is killed.
            cwd: the folder to run it in.
            job: with the environment of a job instead of ours.

        Raises:
            CommandMissing: there is no such command.
        """
        path = self.find(argv[0])
        with self._lock:
            self.counts[argv[0]] = self.counts.get(argv[0], 0) + 1
        process = subprocess.Popen(
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=job_environment(self._environment) if job else self._environment,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
            code: Optional[int] = process.returncode
        except subprocess.TimeoutExpired:
            # all of it: the command may be a site's wrapper, whose child would keep our pipes open
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            code = None
        return Result(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def login_shell_value(self, variable: str) -> Optional[str]:
        """Return a variable as a login shell knows it; ``$SCRATCH`` and the like are set in profiles."""
        return self._login_shell("printenv %s" % variable)

    def _from_login_shell(self, name: str) -> Optional[str]:
        path = self._login_shell("which %s" % name)
        if not path or not os.access(path, os.X_OK):
            return None
        if not self._environment.get("SLURM_CONF"):
            conf = self.login_shell_value("SLURM_CONF")
            if conf:
                self._environment["SLURM_CONF"] = conf
        return path

    def _login_shell(self, command: str) -> Optional[str]:
        """Return the last line that a command prints in the user's login shell; a banner may stand before it."""
        shell = self._environment.get("SHELL") or "/bin/sh"
        try:
            done = subprocess.run(
                [shell, "-l", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                timeout=_LOGIN_SHELL_TIMEOUT,
                start_new_session=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        lines = done.stdout.decode("utf-8", "replace").split("\n") if done.returncode == 0 else []
        lines = [line.strip() for line in lines if line.strip()]
        return lines[-1] if lines else None
