"""The guide on sessions and warm clusters: its assets run as they stand."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource
from testcluster import Cluster
from tests.dagster.conftest import DAGSTERS, connection
from tests.launchers import environments

GUIDE = Path(__file__).parents[2] / "docs" / "sessions.md"


@pytest.mark.cluster
@pytest.mark.slow  # the first run installs Ray
@pytest.mark.filterwarnings(DAGSTERS)
def test_the_assets_of_the_guide(cluster: Cluster, tmp_path: Path) -> None:
    """One allocation, and one Ray cluster for two of them."""
    for text in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", text)
        assert name
        (tmp_path / name[1]).write_text(text)
    written: dict[str, Any] = {}
    code = compile((tmp_path / "definitions.py").read_text(), str(tmp_path / "definitions.py"), "exec")
    exec(code, written)
    # what the guide leaves to the reader's cluster
    slurm = SlurmResource(ssh=connection(cluster), queue=SlurmQueueConfig(partition="gpu"))
    said = written["compute"]
    values = {name: getattr(said, name) for name in type(said).model_fields}  # Dagster forgets what model_copy changes
    compute = ComputeResource(**{**values, "slurm": slurm, "pre_deployed_env_path": str(environments.ray())})
    assets = [written[name] for name in ("features", "model", "report")]
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize(assets, resources={"compute": compute}, instance=instance)
    found: dict[str, dict[str, Any]] = {}
    for event in ran.get_asset_materialization_events():
        assert event.asset_key is not None
        metadata = event.materialization.metadata
        found[event.asset_key.to_user_string()] = {name: value.value for name, value in metadata.items()}
    assert len({metadata["slurm/job_id"] for metadata in found.values()}) == 1
    assert found["model"]["total"] == found["report"]["total"] == 328350
    assert found["model"]["slurm/cluster_not_reused_because"] == "there was none"
    assert found["report"]["slurm/cluster_reused"] is True
    assert found["report"]["slurm/cluster_id"] == found["model"]["slurm/cluster_id"]
    assert (found["model"]["slurm/ray_nodes"], found["model"]["slurm/ray_gpus"]) == (2, 2)
