"""The guide on long training: its asset runs as it stands, here and through more than one job."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource
from tests.dagster.conftest import DAGSTERS, fake
from tests.fakeslurm import FakeSlurm

__all__ = ["fake"]
GUIDE = Path(__file__).parents[2] / "docs" / "long-training.md"
#: so that four epochs take longer than the first job has
SLOWLY = "import time; time.sleep(2)  # train an epoch here"


def asset(folder: Path, *, slowly: bool = False) -> Any:
    for text in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", text)
        assert name is not None
        short = text.replace('time_limit="00:10:00"', 'time_limit="00:03:00"').replace('mem="2G"', 'mem="100M"')
        short = short.replace('on_timeout="continue"', 'on_timeout="continue", warning=30')
        if slowly:
            short = short.replace("  # train an epoch here", f"; {SLOWLY}")
        (folder / name[1]).write_text(short)
    written: dict[str, Any] = {}
    exec(compile((folder / "definitions.py").read_text(), str(folder / "definitions.py"), "exec"), written)
    return written["model"]


def materialized(model: Any, compute: ComputeResource) -> dict[str, Any]:
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize([model], resources={"compute": compute}, instance=instance)
    (event,) = ran.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_on_this_machine(tmp_path: Path) -> None:
    found = materialized(asset(tmp_path), ComputeResource(local_base=str(tmp_path / "base")))
    assert (found["epochs"], found["loss"]) == (4, 1 / 16)


@pytest.mark.filterwarnings(DAGSTERS)
def test_through_several_jobs(fake: FakeSlurm, tmp_path: Path) -> None:
    """The fake's minutes last two seconds."""
    slurm = SlurmResource(remote_base=str(tmp_path / "base"), queue=SlurmQueueConfig(options={"requeue": False}))
    found = materialized(asset(tmp_path, slowly=True), ComputeResource(mode="slurm", slurm=slurm, environment="plain"))
    assert (found["epochs"], found["loss"]) == (4, 1 / 16)
    assert found["slurm/continuations"] == len(fake.jobs()) - 1 > 0
