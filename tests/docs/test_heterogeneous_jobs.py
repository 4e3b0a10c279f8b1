"""The guide on heterogeneous jobs: its asset runs as it stands."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource
from testcluster import Cluster
from tests.dagster.conftest import DAGSTERS, connection
from tests.launchers import environments

GUIDE = Path(__file__).parents[2] / "docs" / "heterogeneous-jobs.md"


@pytest.mark.cluster
@pytest.mark.slow  # the first run installs Ray
@pytest.mark.filterwarnings(DAGSTERS)
def test_the_asset_of_the_guide(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a real Ray cluster in the second component, that has four GPUs on a node of its own."""
    for text in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", text)
        if name:
            (tmp_path / name[1]).write_text(text)
    written: dict[str, Any] = {}
    code = compile((tmp_path / "definitions.py").read_text(), str(tmp_path / "definitions.py"), "exec")
    exec(code, written)
    # what the guide leaves to the reader's cluster
    queue = SlurmQueueConfig(partition="compute", cpus=2, mem="2000M", time_limit=10)
    slurm = SlurmResource(ssh=connection(cluster), queue=queue)
    compute = ComputeResource(
        mode=written["compute"].mode,
        slurm=slurm,
        default_launcher=written["compute"].default_launcher,
        pre_deployed_env_path=str(environments.ray()),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize([written["training_pipeline"]], resources={"compute": compute}, instance=instance)
    (event,) = ran.get_asset_materialization_events()
    found = {name: value.value for name, value in event.materialization.metadata.items()}
    assert found["preprocess/rows"] == 1000
    assert found["train/gpus"] == 4
    assert found["train/slurm/job_id"] == found["preprocess/slurm/job_id"].replace("+0", "+1")
    assert found["train/slurm/nodes"] in ("node3", "node4")
    assert found["train/slurm/nodes"] != found["preprocess/slurm/nodes"]
    assert found["train/slurm/ray_gpus"] == 4
