from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.record import Record, parse

START = '{"event":"start","job":"7","restart":0,"time":10.5,"node":"n1","nodes":"n[1-2]","count":2,"cluster":"c"}\n'
USAGE = '{"event":"usage","restart":0,"peak_kib":2048,"cpu":1.5,"signal":0}\n'
EXIT = '{"event":"exit","restart":0,"time":11,"code":143,"signalled":true,"signals":"USR1 TERM","sizes":{"stdout":3}}\n'
START1 = START.replace('"restart":0', '"restart":1')
EXIT1 = EXIT.replace('"restart":0', '"restart":1').replace("143", "0").replace("true", "false")
WHOLE = START + USAGE + EXIT + START1 + EXIT1


def test_a_whole_record() -> None:
    record = parse(START + USAGE + EXIT)
    assert record.start is not None
    assert (record.start.job, record.start.nodes, record.start.count, record.start.time) == ("7", "n[1-2]", 2, 10.5)
    assert record.usage is not None
    assert (record.usage.peak_kib, record.usage.cpu, record.usage.signal) == (2048, 1.5, 0)
    assert record.exit is not None
    assert (record.exit.code, record.exit.signalled, record.exit.signals) == (143, True, ("USR1", "TERM"))
    assert (record.exit.phase, record.exit.text, record.exit.sizes) == ("payload", "", {"stdout": 3})


def test_nothing_yet() -> None:
    record = parse("")
    assert (record.start, record.usage, record.exit, record.restart) == (None, None, None, 0)


def test_an_earlier_start_says_nothing_of_a_later_one() -> None:
    record = parse(START + USAGE + EXIT + START1)
    assert record.restart == 1
    assert record.exit is None
    assert record.usage is None
    assert len(record.exits) == 1


def test_an_end_by_itself_stands_whatever_is_started_later() -> None:
    final = EXIT.replace("true", "false").replace("143", "0")
    record = parse(START + final + START1 + EXIT1.replace(":0,", ":9,"))
    assert record.restart == 0
    assert record.exit is not None
    assert record.exit.code == 0


@pytest.mark.parametrize("length", range(len(START) + len(EXIT)))
def test_an_incomplete_line_does_not_count(length: int) -> None:
    record = parse((START + EXIT)[:length])
    assert record.starts == (parse(START).starts if length >= len(START) else ())
    assert record.exits == ()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "1",
        '"exit"',
        "{}",
        '{"event":"exit"}',
        '{"event":"exit","restart":"x","code":0,"signalled":false,"time":1}',
        '{"event":"exit","restart":0,"code":null,"signalled":false,"time":1}',
        '{"event":"exit","restart":0,"code":0,"signalled":false,"time":1,"sizes":[1]}',
        '{"event":"exit","restart":0,"code":0,"signalled":false,"time":1,"sizes":{"stdout":"many"}}',
        '{"event":"exit","restart":0,"code":1e999,"signalled":false,"time":1}',
        '{"event":"start","job":"7"}',
        '{"event":"usage","restart":0}',
        '{"event":"later"}',
        '{"event":"exit","restart":0,"code":0,"signalled":false,"time":1',
        "\x00\x00\x00",
        "{'event': 'exit'}",
    ],
)
def test_a_damaged_line_does_not_count_and_hides_no_other(line: str) -> None:
    assert parse(START + line + "\n" + EXIT) == parse(START + EXIT)


@given(st.text(max_size=300))
def test_no_text_is_too_odd(text: str) -> None:
    assert isinstance(parse(text + "\n" + EXIT + text), Record)


@given(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)))
def test_records_only_grow(one: int, two: int) -> None:
    shorter, longer = parse(WHOLE[: min(one, two)]), parse(WHOLE[: max(one, two)])
    assert longer.starts[: len(shorter.starts)] == shorter.starts
    assert longer.exits[: len(shorter.exits)] == shorter.exits


@given(st.text(max_size=60))
def test_text_of_any_kind(text: str) -> None:
    line = json.dumps({"event": "exit", "restart": 0, "code": 1, "signalled": False, "time": 1, "text": text})
    found = parse(line + "\n").exit
    assert found is not None
    assert found.text == text
