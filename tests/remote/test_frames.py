from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_slurm.remote import frames
from dagster_slurm.remote.frames import Decoder, FrameError, encode

plain = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
heads = st.dictionaries(st.text(max_size=9), plain | st.lists(plain, max_size=3), max_size=4)
some = st.lists(st.tuples(heads, st.binary(max_size=300)), max_size=5)
modes = st.booleans()
FEW = settings(deadline=None, max_examples=40)


def pieces(data: bytes, dice: random.Random) -> list[bytes]:
    """Cut anywhere, also into nothing."""
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(8)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def decoded(data: list[bytes], *, tty: bool) -> list[tuple[object, bytes]]:
    decoder = Decoder(tty)
    return [frame for piece in data for frame in decoder.feed(piece)]


@FEW
@given(some, modes, st.integers())
def test_what_is_sent_arrives_however_it_is_cut(
    sent: list[tuple[dict[str, object], bytes]], tty: bool, seed: int
) -> None:
    data = b"".join(encode(head, body, tty) for head, body in sent)
    expected = [(json.loads(json.dumps(head)), body) for head, body in sent]
    assert decoded(pieces(data, random.Random(seed)), tty=tty) == expected
    assert decoded([bytes([byte]) for byte in data], tty=tty) == expected


@FEW
@given(some, st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_a_terminal_mixes_in_what_it_likes(
    sent: list[tuple[dict[str, object], bytes]], noise: list[bytes], breaks: bool
) -> None:
    """On lines of its own, or at the beginning of one of ours; lines may end as terminals end them."""
    noise = [item.replace(b"=f=", b"") for item in noise]
    data = b""
    for number, (head, body) in enumerate(sent):
        rubbish = noise[number % len(noise)] if noise else b""
        line = encode(head, body, tty=True)
        data += rubbish + (b"\r\n" if breaks else b"") + (line[:-1] + b"\r\n" if breaks else line)
    assert decoded([data], tty=True) == [(json.loads(json.dumps(head)), body) for head, body in sent]


@pytest.mark.parametrize(
    "noise", [b"fork: retry: Resource temporarily unavailable\n", b"fish\n", b"f\n", b"\n", b"=f\n", b"\x07"]
)
def test_lines_that_begin_like_ours(noise: bytes) -> None:
    assert decoded([noise + encode({"a": 1}, b"x", tty=True)], tty=True) == [({"a": 1}, b"x")]


def test_a_tty_line_is_plain_text() -> None:
    line = encode({"a": "é"}, bytes(range(256)), tty=True)
    assert line.isascii()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


@FEW
@given(heads, st.binary(min_size=1, max_size=300), modes, st.data())
def test_a_changed_byte_is_never_taken_for_a_frame(
    head: dict[str, object], body: bytes, tty: bool, data: st.DataObject
) -> None:
    good = encode(head, body, tty)
    place = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        arrived = decoded([bytes(changed)], tty=tty)
    except FrameError:
        return
    # what is still incomplete, or noise on a terminal, gives nothing; base64's last bits may differ and mean the same
    assert arrived in ([], [(json.loads(json.dumps(head)), body)])


@FEW
@given(heads, st.binary(max_size=300), st.data())
def test_bytes_lost_within_a_tty_line_are_noticed(head: dict[str, object], body: bytes, data: st.DataObject) -> None:
    line = encode(head, body, tty=True)
    begin = data.draw(st.integers(3, len(line) - 2))
    end = data.draw(st.integers(begin + 1, len(line) - 1))
    with pytest.raises(FrameError):
        decoded([line[:begin] + line[end:]], tty=True)


@FEW
@given(st.binary(max_size=200))
def test_rubbish_raises_or_waits_but_gives_no_frame(rubbish: bytes) -> None:
    for tty in (True, False):
        try:
            assert decoded([rubbish], tty=tty) == []
        except FrameError:
            continue


@pytest.mark.parametrize(
    "damaged",
    [
        b"x" * 64,
        b"F1 2\n",
        b"F1 2 zzzzzzzz\n",
        b"F-1 2 00000000\n",
        b"F9999999999 1 00000000\n",
        b"F1 99999999 00000000\n",
        b"F2 0 00000000\n{}",
        b"F12345678901 1 00000000\n",
        b"hello, this is a banner\n",
    ],
)
def test_what_is_no_frame(damaged: bytes) -> None:
    with pytest.raises(FrameError):
        decoded([damaged], tty=False)


def test_a_head_that_is_no_json() -> None:
    crc = zlib.crc32(b"{{")
    with pytest.raises(FrameError, match="JSON"):
        decoded([b"F2 0 %08x\n{{" % crc], tty=False)


def test_frames_before_a_damaged_one_arrive() -> None:
    arriving = Decoder().feed(encode({"n": 1}) + encode({"n": 2}) + b"rubbish\n")
    assert [next(arriving)[0], next(arriving)[0]] == [{"n": 1}, {"n": 2}]
    with pytest.raises(FrameError):
        next(arriving)


def test_memory_is_bounded_on_a_terminal_that_never_ends_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_MAX_LINE", 1000)
    decoder = Decoder(tty=True)
    assert list(decoder.feed(b"x" * 1000)) == []
    with pytest.raises(FrameError, match="1000 bytes"):
        next(decoder.feed(b"x"))


@pytest.mark.parametrize("tty", [False, True])
def test_ten_megabytes_pass(tty: bool) -> None:
    body = random.Random(1).randbytes(10 << 20)
    data = encode({"op": "submit"}, body, tty)
    decoder, arrived = Decoder(tty), []
    for begin in range(0, len(data), 65536):
        arrived += decoder.feed(data[begin : begin + 65536])
    assert arrived == [({"op": "submit"}, body)]
