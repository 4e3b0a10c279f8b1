"""The agent as a child process, beside Dagster: no SSH, no shell."""

from __future__ import annotations

import sys

from dagster_slurm.errors import AgentUnavailable, HostError
from dagster_slurm.transport import bootstrap
from dagster_slurm.transport.process import ProcessStream

#: seconds that the agent gets to end what it is doing once its input is closed
_GRACE = 5.0


class LocalTransport:
    """Starts the bootstrap on this machine, in this process's environment.

    Args:
        python: the interpreter.
        name: what messages call the place.
    """

    def __init__(self, python: str = sys.executable, name: str = "this machine") -> None:
        self.key = f"local:{python}"
        self.name = name
        self._argv = bootstrap.argv(python)

    def open(self) -> ProcessStream:
        """Start the bootstrap.

        Raises:
            AgentUnavailable: the interpreter cannot be started.
        """
        try:
            return ProcessStream(self._argv, explain=self._explain, grace=_GRACE)
        except OSError as error:
            msg = f"Cannot start {self._argv[0]} on {self.name}: {error.strerror or error}."
            raise AgentUnavailable(msg, hint="Name a Python 3.6 or newer that exists there.") from error

    def _explain(self, exit_code: int | None, stderr: str) -> HostError:
        return AgentUnavailable(
            f"The agent on {self.name} ended.", command=self._argv[0], exit_code=exit_code, log_tail=stderr
        )
