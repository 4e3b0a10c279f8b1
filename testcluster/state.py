"""What a cluster remembers about itself between commands."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from dataclasses import dataclass

from testcluster.layout import Layout
from testcluster.options import ClusterOptions

# Below the range from which the kernel serves outgoing connections (32768 and up).
_PORTS = range(20000, 32000)


@dataclass(frozen=True)
class State:
    """Options, TCP ports by daemon, and the user's password."""

    options: ClusterOptions
    ports: dict[str, int]
    password: str

    @classmethod
    def new(cls, options: ClusterOptions) -> State:
        """Choose ports that are free now, and a password."""
        daemons = ["slurmctld", "slurmdbd", "sshd", *(f"slurmd:{node}" for node in options.node_names)]
        return cls(options, dict(zip(daemons, _free_ports(len(daemons)), strict=True)), secrets.token_hex(8))

    @classmethod
    def load(cls, layout: Layout) -> State | None:
        """The state of a cluster; None if there is none."""
        try:
            values = json.loads(layout.state_file.read_text())
        except FileNotFoundError:
            return None
        return cls(ClusterOptions.from_json(values["options"]), values["ports"], values["password"])

    def save(self, layout: Layout) -> None:
        """Write the state in one go: a crash leaves all of it or nothing."""
        values = {"options": self.options.to_json(), "ports": self.ports, "password": self.password}
        draft = layout.state_file.with_suffix(".draft")
        draft.write_text(json.dumps(values))
        give_to_caller(draft, 0o600)
        draft.rename(layout.state_file)


def give_to_caller(path: os.PathLike[str], mode: int) -> None:
    """Let the user who called us through sudo read a file of ours."""
    os.chmod(path, mode)  # noqa: PTH101 - takes any PathLike
    if "SUDO_UID" in os.environ:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found
