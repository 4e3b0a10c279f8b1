"""The guides on many processes, Ray and Spark: their assets run as they stand, in smaller jobs, on one node and two."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource
from tests.dagster.conftest import DAGSTERS, connection
from tests.launchers import environments

DOCS = Path(__file__).parents[2] / "docs"
#: what the guides ask for is more than a machine for tests has
SMALLER = {
    "many-processes.md": {'cpus=8, mem="64G"': 'cpus=1, mem="500M", partition="gpu"'},
    "ray.md": {'cpus=32, mem="200G", time_limit="04:00:00"': 'cpus=4, mem="2500M", partition="gpu"'},
    "spark.md": {'nodes=4, cpus=16, mem="100G"': 'nodes=2, cpus=2, mem="2500M"', '"4g"': '"1g"'},
}
Make = Callable[..., ComputeResource]


def materialized(guide: str, folder: Path, compute: ComputeResource) -> dict[str, Any]:
    """Metadata of the guide's first asset."""
    fences = re.findall(r"^```python\n(.*?)^```$", (DOCS / guide).read_text(), re.MULTILINE | re.DOTALL)
    definitions = fences[0]
    for large, small in SMALLER[guide].items():
        assert large in definitions
        definitions = definitions.replace(large, small)
    (folder / "definitions.py").write_text(definitions)
    for text in fences[1:]:
        name = re.match(r"# (\w+\.py)\n", text)
        if name:
            (folder / name[1]).write_text(text)
    written: dict[str, Any] = {}
    exec(compile((folder / "definitions.py").read_text(), str(folder / "definitions.py"), "exec"), written)
    (asset,) = (value for value in written.values() if isinstance(value, dg.AssetsDefinition))
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize([asset], resources={"compute": compute}, instance=instance)
    (event,) = ran.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.fixture(params=["local", pytest.param("slurm", marks=[pytest.mark.cluster, pytest.mark.slow])])
def nodes(request: pytest.FixtureRequest) -> int:
    return 1 if request.param == "local" else 2


@pytest.fixture
def make(nodes: int, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make the resource, with a Python environment."""
    if nodes == 1:
        return partial(ComputeResource, mode="local", local_base=str(tmp_path / "base"))
    queue = SlurmQueueConfig(partition="compute", time_limit=10)
    slurm = SlurmResource(ssh=connection(request.getfixturevalue("cluster")), queue=queue)
    return partial(ComputeResource, mode="slurm", slurm=slurm)


@pytest.mark.filterwarnings(DAGSTERS)
def test_many_processes(nodes: int, make: Make, tmp_path: Path) -> None:
    assert materialized("many-processes.md", tmp_path, make())["world"] == 4 * nodes


@pytest.mark.slow
@pytest.mark.filterwarnings(DAGSTERS)
def test_ray(nodes: int, make: Make, tmp_path: Path) -> None:
    """With fake GPUs."""
    found = materialized("ray.md", tmp_path, make(pre_deployed_env_path=str(environments.ray())))
    assert found["sum"] == sum(number * number for number in range(100))
    assert (found["slurm/ray_nodes"], found["slurm/ray_gpus"]) == (nodes, 4 * nodes)


@pytest.mark.slow
@pytest.mark.filterwarnings(DAGSTERS)
def test_spark(nodes: int, make: Make, tmp_path: Path) -> None:
    found = materialized("spark.md", tmp_path, make(pre_deployed_env_path=str(environments.spark())))
    assert (found["rows"], found["slurm/spark_nodes"]) == (1000, nodes)
