"""Packages on their way in: pieces, interruptions, damage."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from dagster_slurm.remote import packages

DATA = os.urandom(1000)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(tmp_path)


def piece(arriving: packages.Arriving, base: str, start: int, end: int, data: bytes = DATA) -> int:
    head = {"base": base, "sha": SHA, "offset": start, "last": end >= len(data)}
    return arriving.piece(head, data[start:end])["size"]


def test_pieces_in_order(base: str) -> None:
    arriving = packages.Arriving()
    assert packages.missing(base, [[SHA, 1000]]) == [[SHA, 0]]
    assert piece(arriving, base, 0, 400) == 400
    assert packages.missing(base, [[SHA, 1000]]) == [[SHA, 400]]
    assert piece(arriving, base, 400, 1000) == 1000
    assert packages.seal(base, [SHA]) == []
    assert packages.missing(base, [[SHA, 1000], [SHA, None]]) == []
    assert Path(packages.path(base, SHA)).read_bytes() == DATA


def test_what_was_broken_off_is_continued_over_another_channel(base: str) -> None:
    one, other = packages.Arriving(), packages.Arriving()
    piece(one, base, 0, 600)
    one.close()
    assert piece(other, base, 600, 1000) == 1000
    assert packages.seal(base, [SHA]) == []


def test_a_lost_piece_leaves_no_hole(base: str) -> None:
    arriving = packages.Arriving()
    piece(arriving, base, 0, 300)
    assert piece(arriving, base, 600, 1000) == 300
    assert piece(arriving, base, 300, 1000) == 1000
    assert packages.seal(base, [SHA]) == []


def test_two_senders_do_no_harm(base: str) -> None:
    one, other = packages.Arriving(), packages.Arriving()
    piece(one, base, 0, 500)
    piece(other, base, 0, 300)
    piece(one, base, 500, 1000)
    assert packages.seal(base, [SHA]) == []
    piece(other, base, 300, 1000)
    assert packages.seal(base, [SHA]) == []
    assert Path(packages.path(base, SHA)).read_bytes() == DATA


def test_what_is_not_what_it_should_be_is_gone(base: str) -> None:
    arriving = packages.Arriving()
    piece(arriving, base, 0, 1000, b"x" * 1000)
    assert packages.seal(base, [SHA]) == [SHA]
    assert packages.missing(base, [[SHA, 1000]]) == [[SHA, 0]]
    assert list(Path(base, "packages").iterdir()) == []


def test_a_truncated_or_changed_package_is_missing(base: str) -> None:
    piece(packages.Arriving(), base, 0, 1000)
    packages.seal(base, [SHA])
    path = Path(packages.path(base, SHA))
    path.write_bytes(DATA[:999])
    assert packages.missing(base, [[SHA, 1000]]) == [[SHA, 0]]
    path.write_bytes(DATA[:999] + b"?")
    assert packages.remove_damaged(base, [SHA]) == [SHA]
    assert not path.exists()


def test_names_cannot_lead_out(base: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        packages.path(base, "../../etc/passwd")


def test_sweep_takes_what_nobody_used(base: str) -> None:
    piece(packages.Arriving(), base, 0, 1000)
    packages.seal(base, [SHA])
    assert packages.sweep(base, 3600.0) == 0
    os.utime(packages.path(base, SHA), (time.time() - 7200,) * 2)
    assert packages.sweep(base, 3600.0) == 1000
