"""The guide on backfills: its asset runs as it stands, launched from the command line."""

import re
import shlex
from pathlib import Path

import pytest

from testcluster import Cluster
from tests.docs.test_fences import run

GUIDE = (Path(__file__).parents[2] / "docs" / "backfills.md").read_text()


@pytest.mark.parametrize("where", ["local", pytest.param("slurm", marks=pytest.mark.cluster)])
def test_the_asset_of_the_guide(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    for text in re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", text)
        assert name is not None
        (tmp_path / name[1]).write_text(text)
    command = re.search(r"^\$ (dagster asset .*)$", GUIDE, re.MULTILINE)
    assert command is not None
    cluster: Cluster | None = request.getfixturevalue("cluster") if where == "slurm" else None
    printed = run(tmp_path, "-m", *shlex.split(command[1]), where=cluster.client_environment if cluster else None)
    assert printed.count("ASSET_MATERIALIZATION") == 10
    for day in range(1, 11):
        assert f"2025-01-{day:02} begins" in printed
    assert "Partitions: 10 done, 0 running, 0 waiting, 0 failed" in printed
    assert printed.count("Submitted job") == (1 if cluster else 0)
