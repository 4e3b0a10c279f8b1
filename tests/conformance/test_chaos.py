"""Over a connection on which everything goes wrong, all is as it is over one on which nothing does."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from dagster_slurm.engine.host import Host
from dagster_slurm.engine.submission import cancel
from dagster_slurm.engine.turns import Turns
from tests.conformance.chaos import KINDS, Chaos
from tests.conformance.driver import Rig
from tests.conformance.payloads import TRAPS
from tests.conformance.taps import Tapped

WORK = "for n in {1..12}; do echo $n; echo e$n >&2; echo m$n >>$MESSAGES; sleep 0.1; done; echo 1 >>$SHARED/ran-%s"
BURST = "import os\nfor n in range(6): os.write(1, bytes(range(256)) * 4096)"
SEEDS = {"local": 8, "faked": 8, "real": 3}


def play_it_all(rig: Rig, seed: int, folder: Path) -> Counter[str]:
    """The behaviours that matter, all at once, over one host."""
    chaos = Chaos(seed)
    host = Host(Tapped(rig.transport(), chaos), rig.scheduler, Turns(folder))
    try:
        works = [rig.begin(WORK % f"{seed}-{number}", host=host) for number in range(3)]
        burst = rig.begin("python3", "-c", BURST, host=host)
        fails = rig.begin("echo out; exit 3", host=host)
        stopped = rig.begin(TRAPS, host=host)
        stopped.until_begun()
        cancel(host, rig.scheduler, stopped.launch)
        for number, play in enumerate(works):
            played = play.result()
            lines = [f"{mark}%d\n" for mark in ("", "e", "m")]
            out, err, said = ("".join(line % n for n in range(1, 13)).encode() for line in lines)
            assert (played.cause, played.heard.stdout, played.heard.stderr, played.heard.said) == (
                "success",
                out,
                err,
                {0: said},
            )
            assert (rig.shared / f"ran-{seed}-{number}").read_text() == "1\n"
        digest = hashlib.sha256(burst.result().heard.stdout).hexdigest()
        assert digest == hashlib.sha256(bytes(range(256)) * 4096 * 6).hexdigest()
        assert (fails.result().cause, fails.heard.stdout) == ("exit_code", b"out\n")
        assert stopped.result().cause == ("cancelled" if rig.slurm else "interrupted")
        assert stopped.heard.stdout == b"saved\n"
    finally:
        host.close()
    return chaos.happened


def test_nothing_is_lost_and_nothing_doubled(rig: Rig, tmp_path: Path) -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEEDS[rig.kind]):
        happened += play_it_all(rig, seed, tmp_path / f"turns-{seed}")
    assert rig.kind == "real" or set(happened) == set(KINDS), happened


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_ever_lost_and_nothing_doubled(rig: Rig, tmp_path: Path) -> None:
    for seed in range(100, 100 + 20 * SEEDS[rig.kind]):
        play_it_all(rig, seed, tmp_path / f"turns-{seed}")
