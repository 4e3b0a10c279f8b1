"""What `make demo`, `make demo-slurm` and `make ui` do, as processes of their own, and what they leave in Dagster."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import dagster as dg
import psutil
import pytest

from tests.clusters import shared_name
from tests.printed import printed as printed_by

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
PROFILED = {"harbour-bridge", "university", "river-path"}


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DAGSTER_"))}
    return {**kept, "DEMO_FOLDER": str(folder), "CLUSTER": shared_name()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """What the demonstration prints, on this machine."""
    return run_demo(folder)


def run_demo(folder: Path, *arguments: str) -> str:
    return printed_by([sys.executable, EXAMPLES / "demo.py", *arguments], environment(folder), timeout=240)


@pytest.fixture
def instance(folder: Path, printed: str) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(folder / "dagster_home")) as opened:
        yield opened


def numbers(instance: dg.DagsterInstance, asset: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def bikes_in_the_file() -> int:
    """Count again, in another way: the sum of all usable counts of complete days, each hour once."""
    hours: dict[tuple[str, str], dict[str, int]] = {}
    with (EXAMPLES / "bike_counters" / "data" / "counts.csv").open() as file:
        for station, time, count, _ in list(csv.reader(file))[1:]:
            if count.isdigit() and int(count) < 5000:
                hours.setdefault((station.strip().lower(), time[:10]), {})[time] = int(count)
    return sum(sum(day.values()) for day in hours.values() if len(day) >= 22)


def test_the_numbers_are_right(instance: dg.DagsterInstance) -> None:
    readings = numbers(instance, "readings")
    assert {key: readings[key] for key in ("rows", "duplicates", "missing", "impossible")} == {
        "rows": 4975,
        "duplicates": 39,
        "missing": 53,
        "impossible": 12,
    }
    assert numbers(instance, "daily_totals")["bikes"] == bikes_in_the_file() == 328470
    assert numbers(instance, "city_summary")["correlation_with_warmth"] == pytest.approx(0.938)


def test_each_partition_has_its_own_numbers(instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey("station_profile")
    assert instance.get_materialized_partitions(key) == PROFILED
    records = instance.fetch_materializations(key, limit=10).records
    peaks = {record.partition_key: record.asset_materialization.metadata["peak_hour"].value for record in records}
    assert peaks == {"harbour-bridge": 8, "university": 17, "river-path": 15}


def test_the_checks_say_what_is_wrong(instance: dg.DagsterInstance) -> None:
    keys = [
        dg.AssetCheckKey(dg.AssetKey("readings"), name) for name in ("enough_usable_readings", "every_station_reports")
    ]
    found = {}
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
        assert record.event is not None
        assert record.event.dagster_event is not None
        found[key.name] = record.event.dagster_event.asset_check_evaluation_data
    assert found["enough_usable_readings"].passed
    assert not found["every_station_reports"].passed
    assert found["every_station_reports"].metadata["silent"].value == "old-tannery"


def test_it_shows_progress_and_what_comes_next(printed: str) -> None:
    lines = printed.splitlines()
    started = next(place for place, line in enumerate(lines) if "readings" in line and "started" in line)
    payload = next(place for place, line in enumerate(lines) if "5,079 rows from the counters" in line)
    done = next(place for place, line in enumerate(lines) if "readings" in line and "done in" in line)
    assert started < payload < done
    assert "kept 4,975 rows" in printed
    assert "Traceback" not in printed
    assert "Warning" not in printed
    assert "station_profile (3 partitions)" in printed
    assert "make demo-slurm" in printed.partition("What to try next")[2]


def test_a_second_time_is_as_good(folder: Path, printed: str) -> None:
    assert "station_profile (3 partitions)" in run_demo(folder)


@pytest.mark.cluster
def test_the_same_assets_as_slurm_jobs(tmp_path: Path) -> None:
    printed = run_demo(tmp_path, "--slurm")
    assert "Materialized as Slurm jobs" in printed
    assert "5,079 rows from the counters" in printed
    scenes = re.split(r"\nScene \d: ", printed)
    assert len(scenes) == 4
    assert all("and ended as it should" in scene for scene in scenes[1:])
    job = re.search(r"Submitted job (\d+) to", scenes[1])
    assert job
    assert scenes[1].index("kill -9") < scenes[1].index(f"Re-attached to job {job[1]} ")
    assert "that Slurm got from both: 1" in scenes[1]
    assert "ran out of memory (asked for 100 MiB" in scenes[2] or "left out" in scenes[2]
    assert re.search(r"waits in the queue: \w+, expected to start at 20", scenes[3])
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        readings = numbers(instance, "readings")
        assert readings["rows"] == 4975
        assert str(readings["slurm/job_id"]).isdigit()
        assert instance.get_materialized_partitions(dg.AssetKey("station_profile")) == PROFILED


QUERY = "{ runsOrError { ... on Runs { results { status jobName } } } assetNodes { assetKey { path } } }"


def address_in(lines: IO[str] | None) -> str:
    found = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in lines or [])
    return next(match.group() for match in found if match)


def ask(address: str) -> dict[str, Any]:
    body, kind = json.dumps({"query": QUERY}).encode(), {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/graphql", body, kind), timeout=60) as reply:
        return json.load(reply)["data"]


@pytest.mark.slow
def test_the_ui_has_finished_failed_and_plotted_runs(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, EXAMPLES / "ui.py"],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as ui:
        try:
            address = address_in(ui.stdout)
            family = psutil.Process(ui.pid).children(recursive=True)
            data = ask(address)
        finally:
            ui.send_signal(signal.SIGINT)
            ui.wait(timeout=60)
    statuses = sorted((run["jobName"], run["status"]) for run in data["runsOrError"]["results"])
    assert statuses == [("city", "SUCCESS")] * 6 + [("station", "FAILURE")] + [("station", "SUCCESS")] * 3
    assert len(data["assetNodes"]) == 4
    assert not psutil.wait_procs(family, timeout=15)[1]
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        records = instance.fetch_materializations(dg.AssetKey("readings"), limit=10, ascending=True).records
        rows = [record.asset_materialization.metadata["rows"].value for record in records]
        assert rows == sorted(set(rows))
        assert len(rows) == 6
