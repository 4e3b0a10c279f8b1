"""The example with a lock of its own runs on a cluster from a clean state: nothing kept here, nothing there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testcluster import Cluster
from tests.clusters import cluster

__all__ = ["cluster"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "locked_report"


def materialize(tmp_path: Path, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DAGSTER_"))}
    home = tmp_path / "dagster"
    home.mkdir(exist_ok=True)
    uv_cache = os.environ.get("UV_CACHE_DIR") or str(Path("~/.cache/uv").expanduser())
    environment = {
        **kept, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes", "UV_CACHE_DIR": uv_cache,
        "XDG_CACHE_HOME": str(tmp_path / "cache"), **variables,
    }  # fmt: skip
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--python-file", "definitions.py"]
    done = subprocess.run(
        [*command, "--select", "report"], cwd=EXAMPLE, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.cluster
def test_by_its_lock_alone(cluster: Cluster, tmp_path: Path) -> None:
    where = {**cluster.client_environment, "SLURM_DEPLOYMENT_BASE_PATH": f"~/clean/{tmp_path.name}-{os.getpid()}"}
    said = materialize(tmp_path, **where)
    assert f'environment="auto": {EXAMPLE}/uv.lock is there, so uv packs' in said
    assert "Sending 4 of 4 packages" in said
    assert "rendered by Jinja 3." in said
    assert "RUN_SUCCESS" in said
    again = materialize(tmp_path, **where)
    assert "Sending" not in again
    assert "rendered by Jinja 3." in again
