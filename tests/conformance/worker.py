"""Another process: takes a launch to its end, and says in one line of JSON what it saw.

``python worker.py JSON``: kind of row and how to get there, and what to run; see :class:`Task`.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from dagster_slurm.core.spec import LaunchKey  # noqa: E402
from dagster_slurm.schedulers.direct import Direct  # noqa: E402
from dagster_slurm.schedulers.slurm import Slurm  # noqa: E402
from dagster_slurm.transport.ssh import counts  # noqa: E402
from testcluster import load  # noqa: E402
from tests.conformance import rows, taps  # noqa: E402
from tests.conformance.driver import PATIENCE, Heard, Rig  # noqa: E402


@dataclass(frozen=True)
class Task:
    """What the process is to do.

    Args:
        kind: of the row.
        base: the base folder.
        shared: a folder that payloads may write to.
        command: what to run.
        key: identity of the launch.
        path: PATH, with the fake first (faked).
        tmp: the agents' temporary folder (local, faked).
        cluster: its name (real).
        kill: a named point at which to end by SIGKILL; see :mod:`.taps`.
        go: a file to wait for before anything is sent.
        session: what the session asks for (session).
        digest: keep digests of the output, not the output.
    """

    kind: str
    base: str
    shared: str
    command: list[str]
    key: tuple[str, str, str]
    path: str = ""
    tmp: str = ""
    cluster: str = ""
    kill: str = ""
    go: str = ""
    digest: bool = False
    session: dict[str, Any] = field(default_factory=dict[str, Any])
    resources: dict[str, Any] = field(default_factory=dict[str, Any])

    def argv(self) -> list[str]:
        return [sys.executable, __file__, json.dumps(asdict(self))]


class Digests(Heard):
    """Digests and sizes of the output; for a lot of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = {"stdout": hashlib.sha256(), "stderr": hashlib.sha256()}
        self.sizes = {"stdout": 0, "stderr": 0}

    def output(self, stream: str, data: bytes) -> None:
        self.sums[stream].update(data)
        self.sizes[stream] += len(data)


def task(rig: Rig, *command: str, key: tuple[str, str, str], **more: Any) -> Task:
    """A task for another process, at the same place."""
    words = list(command) if len(command) > 1 else ["bash", "-c", *command]
    place: dict[str, Any] = {}
    if rig.kind in ("real", "session", "together"):
        place["cluster"] = rig.backstage.name
        place["session"] = rig.asked
    else:
        place["tmp"] = str(rig.base.parent / "tmp")
        place["path"] = rig.backstage.path if rig.kind == "faked" else os.environ["PATH"]
    resources = dict(rig.resources)
    return Task(rig.kind, str(rig.base), str(rig.shared), words, key, resources=resources, **{**place, **more})


def rig_for(asked: Task) -> Rig:
    if asked.kind in ("real", "session", "together"):
        cluster = load(asked.cluster)
        rig = rows.real_rig(cluster, Path(asked.base), Path(asked.shared))
        rig.kind = asked.kind
        if asked.kind == "session":
            rig.asked = asked.session
            rows.hands_to_a_session(rig)
    else:
        variables = rows.environment(Path(asked.tmp), PATH=asked.path)
        scheduler = Slurm() if asked.kind == "faked" else Direct()
        rig = Rig(asked.kind, lambda: rows.Beside(variables), scheduler, Path(asked.base), Path(asked.shared))
    if asked.kill:
        way = rig.transport
        rig.transport = lambda: taps.Tapped(way(), taps.killing_at(asked.kill))
    return rig


def main(asked: Task) -> dict[str, Any]:
    rig = rig_for(asked)
    launch = rig.launch(*asked.command, key=LaunchKey(*asked.key), **asked.resources)
    rig.host.hello(asked.base) if asked.go else None
    print("ready", flush=True)
    while asked.go and not Path(asked.go).exists():
        time.sleep(0.005)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    heard = Digests() if asked.digest else Heard()
    played = rig.take_up(launch, heard=heard).result(4 * PATIENCE)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    rig.close()
    said = {str(number): data.decode("utf-8", "replace") for number, data in heard.said.items()}
    answer = {
        "cause": played.cause,
        "job": played.tracked.job,
        "adopted": played.submitted.adopted,
        "grown_kib": grown,
        "said": said,
        "logins": counts.logins,
        "sessions": counts.sessions,
        "seconds": played.seconds,
    }
    if isinstance(heard, Digests):
        digests = {name: value.hexdigest() for name, value in heard.sums.items()}
        return {**answer, "sizes": heard.sizes, "digests": digests}
    output = {"stdout": heard.stdout.decode("utf-8", "replace"), "stderr": heard.stderr.decode("utf-8", "replace")}
    return {**answer, **output}


if __name__ == "__main__":
    print(json.dumps(main(Task(**json.loads(sys.argv[1])))), flush=True)
