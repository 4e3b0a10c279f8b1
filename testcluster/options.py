"""What a test cluster can be asked for."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

AUTH_METHODS = ("any", "key", "password", "keyboard-interactive", "one-time")
LOGIN_SHELLS = ("bash", "tcsh", "fish")
PREEMPT_MODES = ("off", "requeue", "cancel")
RELEASES = ("host", "trixie")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


def choice(default: str, choices: tuple[str, ...], text: str) -> str:
    """A field that takes one of a few words."""
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


def number(default: int, text: str) -> int:
    """A field that takes a number; `text` names the unit."""
    return dataclasses.field(default=default, metadata={"help": text})


def switch(text: str, *, default: bool) -> bool:
    """A field that is on or off."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class ClusterOptions:
    """Everything that may differ between two test clusters; the defaults let many small jobs run at once."""

    name: str = "dev"
    release: str = choice("host", RELEASES, "whose Slurm: the host's, or Debian 13's in a chroot")
    accounting: bool = switch("slurmdbd with a MariaDB of its own", default=True)

    nodes: int = number(4, "number of nodes")
    cpus: int = number(8, "CPUs declared per node")
    memory: int = number(4000, "memory declared per node, in MB")
    gpu_nodes: int = number(2, "how many of the nodes (the last ones) have GPUs")
    gpus: int = number(4, "fake GPUs on each of them")
    cgroups: bool = switch("enforce memory limits where the host can", default=True)

    min_job_age: int = number(300, "seconds for which squeue knows a finished job")
    kill_wait: int = number(5, "seconds between TERM and KILL")
    slurmd_timeout: int = number(60, "seconds until a silent node is down")
    requeue_delay: int = number(15, "seconds before a requeued job may start again")
    max_array_size: int = number(1001, "MaxArraySize")
    max_job_count: int = number(10000, "MaxJobCount")
    max_submit_jobs: int = number(0, "jobs a user may have submitted at once (QOS limit); 0: any number")
    preemption: str = choice("off", PREEMPT_MODES, "what partition 'urgent' does to jobs of the others")
    grace_time: int = number(0, "seconds between TERM and the end of a preempted job")

    auth: str = choice(
        "any", AUTH_METHODS, "how sshd lets the user in; any: key or password; one-time: a code good for one login"
    )
    max_sessions: int = number(10, "sshd's MaxSessions per connection")
    max_startups: str = dataclasses.field(default="100", metadata={"help": "sshd's MaxStartups"})
    login_shell: str = choice("bash", LOGIN_SHELLS, "the user's login shell")
    banner: bool = switch("sshd's Banner, and text on stdout from the shell's start files", default=False)
    login_python: bool = switch("python3 on the login shell's PATH", default=True)
    late_files: int = number(0, "seconds for which the login node remembers names below ~/late; 0: no such folder")

    slurm_conf: tuple[str, ...] = dataclasses.field(default=(), metadata={"help": "a further line for slurm.conf"})
    sshd_config: tuple[str, ...] = dataclasses.field(
        default=(), metadata={"help": "a line to put first in sshd_config"}
    )

    def __post_init__(self) -> None:
        """Refuse what would fail much later, or with a riddle."""
        if not _NAME.fullmatch(self.name):
            msg = f"cluster name {self.name!r}: at most 16 characters of [a-z0-9-], the first one a letter"
            raise ValueError(msg)
        for field in dataclasses.fields(self):
            choices = field.metadata.get("choices")
            value = getattr(self, field.name)
            if choices and value not in choices:
                msg = f"{field.name}={value!r}: must be one of {', '.join(choices)}"
                raise ValueError(msg)
        if self.max_submit_jobs and not self.accounting:
            msg = "max_submit_jobs is a limit of a QOS, which needs accounting=True"
            raise ValueError(msg)

    @property
    def node_names(self) -> list[str]:
        """Names of all nodes."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    @property
    def gpu_node_names(self) -> list[str]:
        """Names of the nodes that have GPUs."""
        return self.node_names[self.nodes - self.gpu_nodes :] if self.gpus else []

    def to_json(self) -> str:
        """The options as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClusterOptions:
        """The reverse of `to_json`."""
        values: dict[str, Any] = json.loads(text)
        for field in dataclasses.fields(cls):
            if isinstance(field.default, tuple):  # JSON knows lists only
                values[field.name] = tuple(values[field.name])
        return cls(**values)
