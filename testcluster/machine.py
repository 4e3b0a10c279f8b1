"""A cluster's files and settings together, and how commands are run in its midst."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testcluster import cgroups, tree
from testcluster.execute import ClusterError, clean_environment, root_prefix, run
from testcluster.layout import Layout
from testcluster.options import ClusterOptions
from testcluster.state import State

SCRIPTS = Path(__file__).parent


@dataclass(frozen=True)
class Machine:
    """What all parts of a cluster are built from."""

    layout: Layout
    state: State

    @property
    def options(self) -> ClusterOptions:
        """What the cluster was asked to be."""
        return self.state.options

    @property
    def ports(self) -> dict[str, int]:
        """TCP ports by daemon."""
        return self.state.ports

    @property
    def environment(self) -> dict[str, str]:
        """For Slurm's commands."""
        return clean_environment(SLURM_CONF=str(self.layout.slurm_conf))

    @property
    def confines_memory(self) -> bool:
        """Whether a job that takes more memory than it asked for is killed."""
        return self.options.cgroups and cgroups.usable()

    @property
    def root(self) -> Path:
        """The root folder of the Debian whose programs the cluster runs."""
        return Path("/") if self.options.release == "host" else tree.folder(self.options.release)

    @property
    def pam_service(self) -> Path:
        """How sshd asks for passwords and codes: the one file outside of the cluster's folder, named as its user."""
        return self.root / "etc" / "pam.d" / self.layout.user

    def version(self, command: str) -> tuple[int, int]:
        """First two numbers in what a program says of its version; `command` is a shell's."""
        text = self.run(["sh", "-c", f"{command} 2>&1"])
        found = re.search(r"(\d+)\.(\d+)", text)
        if found is None:
            msg = f"{command}: no version in {text!r}"
            raise ClusterError(msg)
        return int(found[1]), int(found[2])

    @property
    def enter(self) -> list[str]:
        """A root command's prefix that makes it run where the cluster's programs are."""
        if self.options.release == "host":
            return []
        return [*PRIVATE_MOUNTS, str(SCRIPTS / "enter_tree.sh"), str(self.root), str(self.layout.root)]

    def as_user(self, command: Sequence[str]) -> list[str]:
        """A command line that makes root run a command as the cluster's user, in its home."""
        user, home = self.layout.user, self.layout.home
        env = {**self.environment, "HOME": str(home), "USER": user, "LOGNAME": user}
        assignments = [f"{name}={value}" for name, value in env.items()]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*root_prefix(), *self.enter, *become, "env", "-i", f"--chdir={home}", *assignments, *command]

    def run(self, command: Sequence[str], *, timeout: float = 60) -> str:
        """Standard output of a command of root's, which must succeed within `timeout` seconds."""
        assignments = [f"{name}={value}" for name, value in self.environment.items()]
        return run([*root_prefix(), *self.enter, "env", "-i", *assignments, *command], timeout=timeout)


PRIVATE_MOUNTS = ["unshare", "--mount", "--propagation", "private"]
