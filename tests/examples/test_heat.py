"""The example with results: a file goes from one asset to the next, and a picture into Dagster."""

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from testcluster import Cluster
from tests.clusters import cluster

__all__ = ["cluster"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "heat"


@pytest.mark.parametrize("where", ["local", pytest.param("slurm", marks=pytest.mark.cluster)])
def test_the_picture_comes_back(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    there: Mapping[str, str] = {"SLURM_DATA_BASE_PATH": str(tmp_path / "results")}
    if where == "slurm":
        found: Cluster = request.getfixturevalue("cluster")
        there = {**found.client_environment, "SLURM_DATA_BASE_PATH": f"~/heat {os.getpid()}"}
    home = tmp_path / "dagster"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DAGSTER_"))}
    environment = {**kept, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes", **there}
    config = {"ops": {"temperatures": {"config": {"size": 40, "steps": 60}}}}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--python-file", "definitions.py"]
    done = subprocess.run(
        [*command, "--select", "*", "--config-json", json.dumps(config)],
        cwd=EXAMPLE, env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with dg.DagsterInstance.from_config(str(home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("heat_map"))
        assert event is not None
        metadata = event.asset_materialization.metadata
    assert metadata["slurm/output_files"].value == 3
    assert str(metadata["slurm/fetched/heat_map.png"].value).startswith("![heat_map.png](data:image/png;base64,")
    assert "| column | temperature |" in str(metadata["slurm/fetched/middle.csv"].value)
    (picture,) = home.rglob("heat_map.png")
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (160, 160)
    length = struct.unpack(">I", data[33:37])[0]
    lines = zlib.decompress(data[41 : 41 + length])
    hot, cold = lines[1 + 481 * 80 : 4 + 481 * 80], lines[481 * 81 - 3 : 481 * 81]
    assert (hot, cold) == (bytes((240, 249, 33)), bytes((13, 8, 135)))
    assert "field" not in {path.stem for path in home.rglob("*.f64")}  # large data stays where it is
