"""Over a connection that cannot be relied on, all is as it is over a good one."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dagster_slurm.engine.submission import cancel
from dagster_slurm.engine.turns import Turns
from tests.conformance import rows
from tests.conformance.driver import Play, Played, Rig, until
from tests.conformance.payloads import TRAPS
from tests.kills.chaos import Chaos, chaotic
from tests.kills.lives import PAYLOAD, STDOUT

MEGABYTE = "".join(f"{number:07d}\n" for number in range(1 << 17)).encode()
COUNTED = "echo 1 >>$SHARED/{name}; "
#: what each payload does, and how it ends
COMMANDS = {
    "succeeds": (f"seq -f %07.0f 0 {(1 << 17) - 1}", "success"),
    "fails": ("echo out; exit 3", "exit_code"),
    "is killed": ("echo out; kill -SEGV $$", "signal"),
    "is cancelled": (f"echo out; {TRAPS}", ""),
    "talks": (PAYLOAD, "success"),
}


class Storm:
    """All behaviours over one process's connection to one host, with one seed."""

    def __init__(self, rig: Rig, seed: int, folder: Path) -> None:
        self.rig = rig
        self.chaos = Chaos(seed)
        self.seed = seed

        way = rig.transport
        # a rig of its own, at the same place
        self.own = Rig(
            rig.kind,
            lambda: chaotic(way(), self.chaos),
            rig.scheduler,
            rig.base,
            rig.shared,
            lambda: Turns(folder / f"turns-{seed}"),
            rig.backstage,
            rig.resources,
        )

    def pass_over(self) -> Counter[str]:
        try:
            plays = {kind: self.own.begin(self._command(kind)) for kind in COMMANDS}
            self._cancel(plays["is cancelled"])
            for kind, play in plays.items():
                self._judge(kind, play.result(150))
            again = self.own.take_up(plays["succeeds"].launch, self.own.another_host()).result(150)
            assert again.submitted.adopted
            self._judge("succeeds", again)
        except BaseException as error:
            raise AssertionError(f"seed {self.seed}: {dict(self.chaos.happened)}") from error
        finally:
            self.own.close()
        return self.chaos.happened

    def _name(self, kind: str) -> str:
        return f"{self.seed}-{kind}".replace(" ", "-")

    def _command(self, kind: str) -> str:
        name = self._name(kind)
        return COUNTED.format(name=f"{name}.ran") + COMMANDS[kind][0].format(name=name)

    def _cancel(self, play: Play) -> None:
        play.until(lambda: play.heard.stdout == b"out\n")  # its trap is set before `begun`, which it touches next
        play.until_begun()
        assert cancel(self.own.host, self.own.scheduler, play.launch) in ([str(play.job)], [])

    def _judge(self, kind: str, played: Played) -> None:
        heard, cause = played.heard, COMMANDS[kind][1] or ("cancelled" if self.rig.slurm else "interrupted")
        assert played.cause == cause, (kind, played.verdict)
        expected = {"succeeds": MEGABYTE, "talks": STDOUT.encode(), "is cancelled": b"out\nsaved\n"}
        same = heard.stdout == expected.get(kind, b"out\n")  # too long to be shown
        assert same, (kind, len(heard.stdout), heard.stdout[-20:])
        if kind == "talks":
            assert (heard.said, heard.stderr) == ({0: b"1\n2\n3\n4\n5\n"}, b"1\n2\n3\n4\n5\n")
        assert (self.rig.shared / f"{self._name(kind)}.ran").read_text() == "1\n"
        if self.rig.slurm:
            self._one_job(played)

    def _one_job(self, played: Played) -> None:
        name = played.launch.spec.key.job_name
        if self.rig.kind == "faked":
            assert len(self.rig.backstage.jobs_named(name)) == 1
        else:
            command = ["squeue", "-h", "--states=all", f"--name={name}", "-o", "%i"]
            until(lambda: self.rig.backstage.admin(command).split() == [played.tracked.job], 20)


def storms(rig: Rig, seeds: range, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        happened = list(pool.map(lambda seed: Storm(rig, seed, folder).pass_over(), seeds))
    total = sum(happened, Counter[str]())
    print(dict(total))
    assert len(total) >= 7 or len(seeds) < 10, total
    assert sum(total.values()) > 5 * len(seeds)


def test_chaos(rig: Rig, tmp_path: Path) -> None:
    storms(rig, range(4 if rig.kind == "real" else 20), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_lot_of_chaos(rig: Rig, tmp_path: Path) -> None:
    storms(rig, range(100, 120 if rig.kind == "real" else 200), tmp_path)


def test_chaos_where_sbatch_is_slow_and_lands_late(tmp_path: Path) -> None:
    """A connection that breaks while ``sbatch`` is at it."""
    with rows.faked(tmp_path) as rig:
        rig.backstage.hang("sbatch", 0.4)
        storms(rig, range(300, 306), tmp_path)
