"""The bike counters' payloads by themselves, and the data they read."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_counters"
PAYLOADS = sorted((EXAMPLE / "payloads").glob("*.py"))


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLE / "payloads")
    spec = importlib.util.spec_from_file_location(f"payload_{name}", EXAMPLE / "payloads" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_data_comes_from_its_script() -> None:
    made = subprocess.run([sys.executable, EXAMPLE / "data" / "generate.py"], capture_output=True, check=True).stdout
    assert made == (EXAMPLE / "data" / "counts.csv").read_bytes()


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda path: path.stem)
def test_a_clusters_old_python_understands_it(payload: Path) -> None:
    ast.parse(payload.read_text(), feature_version=(3, 6))


def row(**changes: str) -> dict[str, str]:
    return {"station": "River Path", "time": "2024-05-06T08:00", "count": "7", "temperature_c": "", **changes}


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (row(station="RIVER PATH "), "duplicates"),
        (row(time="2024-05-06T09:00", count="NA"), "missing"),
        (row(time="2024-05-06T09:00", count=""), "missing"),
        (row(time="2024-05-06T09:00", count="-1"), "impossible"),
        (row(time="2024-05-06T09:00", count="65535"), "impossible"),
    ],
)
def test_what_is_dropped_is_counted(second: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, dropped = load("ingest", monkeypatch).clean([row(), second], "2024-05-06", print)
    assert [(one["station"], one["count"]) for one in kept] == [("river-path", 7)]
    assert dropped == {"duplicates": 0, "missing": 0, "impossible": 0, reason: 1}


def test_later_days_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, dropped = load("ingest", monkeypatch).clean([row()], "2024-05-05", print)
    assert not kept
    assert not any(dropped.values())


def test_a_line_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slope, correlation = load("summary", monkeypatch).slope([1, 2, 3, 4], [12, 14, 16, 18])
    assert (slope, correlation) == pytest.approx((2, 1))
