"""A project written for the interface of dagster-slurm 1.x runs unchanged."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from testcluster import Cluster
from tests.clusters import cluster
from tests.dagster.conftest import DAGSTERS

__all__ = ["cluster"]
PROJECT = Path(__file__).parent / "project" / "definitions.py"
pytestmark = pytest.mark.filterwarnings(DAGSTERS)
CONFIG = {"ops": {"launchpad": {"config": {"force_env_push": False, "skip_payload_upload": False}}}}


def materialized() -> dict[str, dict[str, Any]]:
    """Metadata by asset."""
    defs: dg.Definitions = runpy.run_path(str(PROJECT))["defs"]
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        ran = job.execute_in_process(instance=instance, run_config=CONFIG)
        events = ran.get_asset_materialization_events()
    return {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.materialization.metadata.items()}
        for event in events
        if event.asset_key
    }


def test_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_DEPLOYMENT", raising=False)
    found = materialized()
    assert {name: item["foo"] for name, item in found.items()} == {"process_data": "bar", "launchpad": 2, "result": 3}
    assert all(item["rows"] == 1000 for item in found.values())


@pytest.mark.cluster
def test_on_a_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.client_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_DEPLOYMENT", "production_supercomputer")
    monkeypatch.setenv("SLURM_DEPLOYMENT_BASE_PATH", "~/migration")
    found = materialized()
    assert {name: item["foo"] for name, item in found.items()} == {"process_data": "bar", "launchpad": 2, "result": 3}
    # what was asked for, in each of the old ways, is what the job got
    cpus = {name: item["cpus"] for name, item in found.items()}
    assert cpus == {"process_data": "2", "launchpad": "2", "result": "1"}
    memory = {name: item["slurm/requested_memory_mib"] for name, item in found.items()}
    assert memory == {"process_data": 100, "launchpad": 102, "result": 200}
