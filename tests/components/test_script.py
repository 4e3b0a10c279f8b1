"""``SlurmScriptComponent``: scaffolded, loaded, materialized here and on the cluster, and refused."""

import importlib.metadata
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from dagster_slurm import ComputeResource, SlurmScriptComponent
from dagster_slurm.resources import targets
from testcluster import Cluster

# Dagster's own, wherever a component is loaded or a resource has resources in it
pytestmark = [
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:.*is currently in (beta|preview)"),
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"),
]
PLAIN = "dagster.PythonScriptComponent"
OURS = "dagster_slurm.SlurmScriptComponent"
SCRIPT = """
import platform, sys
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    for key in pipes.asset_keys:
        pipes.report_asset_materialization(
            asset_key=key, metadata={"args": " ".join(sys.argv[1:]), "extra": pipes.extras.get("word", "")}
        )
    if "--check" in sys.argv:
        pipes.report_asset_check(asset_key="one", check_name="good", passed=True)
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DefsFolderSandbox]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    # Dagster's own component runs the `python` of PATH
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in ("SLURM_EDGE_NODE_HOST", "DAGSTER_SLURM_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with create_defs_folder_sandbox() as made:
        yield made
    targets.close_all()


def written(sandbox: DefsFolderSandbox, kind: str = OURS, **attributes: Any) -> Path:
    """A component as a user writes it."""
    folder = sandbox.defs_folder_path / "mine"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    said = {"execution": {"path": "script.py"}, "assets": [{"key": "one"}], **attributes}
    (folder / "defs.yaml").write_text(yaml.safe_dump({"type": kind, "attributes": said}))
    return folder


def materialize(sandbox: DefsFolderSandbox, folder: Path, **resources: Any) -> dg.ExecuteInProcessResult:
    with sandbox.load_component_and_build_defs(folder) as (_, defs), dg.instance_for_test() as instance:
        assets = list(defs.assets or [])
        return dg.materialize(assets, instance=instance, resources=resources)  # pyright: ignore[reportArgumentType]


def metadata(result: dg.ExecuteInProcessResult, key: str = "one") -> dict[str, Any]:
    found = [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(key)]
    (event,) = found
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_it_is_scaffolded_loaded_and_materialized(sandbox: DefsFolderSandbox) -> None:
    folder = sandbox.scaffold_component(SlurmScriptComponent, "scaffolded")
    said = yaml.safe_load((folder / "defs.yaml").read_text())
    assert said["type"] == "dagster_slurm.components.script.SlurmScriptComponent"
    assert said["attributes"]["resources"]["mem"] == "1G"
    result = materialize(sandbox, folder)
    assert result.success
    assert metadata(result, "scaffolded")["rows"] == 0


def test_a_script_of_the_users_own_is_not_overwritten(sandbox: DefsFolderSandbox) -> None:
    folder = sandbox.defs_folder_path / "scaffolded"
    folder.mkdir()
    (folder / "script.py").write_text("mine")
    sandbox.scaffold_component(SlurmScriptComponent, "scaffolded")
    assert (folder / "script.py").read_text() == "mine"


@pytest.mark.parametrize("kind", [PLAIN, OURS])
def test_the_type_line_alone_makes_the_difference(kind: str, sandbox: DefsFolderSandbox) -> None:
    execution = {"path": "script.py", "args": ["--check", "two words"], "name": "my_op", "tags": {"team": "ours"}}
    checks = [{"asset": "one", "name": "good"}]
    assets = [{"key": "one", "kinds": ["python"], "group_name": "mine"}, {"key": "other", "deps": ["one"]}]
    folder = written(sandbox, kind, execution=execution, assets=assets, checks=checks)
    result = materialize(sandbox, folder)
    assert metadata(result)["args"] == "--check two words"
    assert metadata(result, "other")["args"] == "--check two words"
    assert result.get_asset_check_evaluations()[0].passed
    with sandbox.load_component_and_build_defs(folder) as (_, defs):
        definition = defs.get_assets_def("one")
        assert (definition.op.name, definition.op.tags["team"]) == ("my_op", "ours")
        kinds = defs.get_repository_def().asset_graph.get(dg.AssetKey("one")).kinds
        assert set(kinds) == ({"python"} if kind == PLAIN else {"python", "slurm"})


def test_settings_of_the_component(sandbox: DefsFolderSandbox) -> None:
    folder = written(
        sandbox,
        resources={"cpus": 2, "mem": "1G", "mail-type": "END"},
        launcher={"bash": {"tasks_per_node": 2}},
        environment="plain",
        extras={"word": "from YAML"},
        retry={"max_retries": 1, "on_timeout": "continue"},
        mode="local",
    )
    result = materialize(sandbox, folder)
    assert metadata(result)["extra"] == "from YAML"


def test_a_resource_of_the_project(sandbox: DefsFolderSandbox, tmp_path: Path) -> None:
    folder = written(sandbox, compute="cluster")
    base = tmp_path / "own base"
    result = materialize(sandbox, folder, cluster=ComputeResource(mode="local", local_base=str(base)))
    assert result.success
    assert list(base.glob("runs/*/script/*/record.jsonl"))


@pytest.mark.cluster
def test_on_the_cluster(sandbox: DefsFolderSandbox, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.client_environment.items():
        monkeypatch.setenv(name, value)
    folder = written(sandbox, resources={"cpus": 2, "mem": "100M"}, execution={"path": "script.py", "args": "a 'b c'"})
    found = metadata(materialize(sandbox, folder))
    assert found["args"] == "a b c"
    assert found["slurm/partition"] == "compute"
    assert found["slurm/cpus"] == 2


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"resources": {"memroy": "1G"}}, "memroy"),
        ({"resources": {"mem": "much"}}, "not an amount of memory"),
        ({"retry": {"on_time": "continue"}}, "retry has no setting 'on_time'"),
        ({"retry": {"memory_factor": 1}}, "memory_factor=1 is not a number above 1"),
        ({"launcher": "rya"}, "launcher='rya' is not known"),
        ({"launcher": {"ray": {"gpus": 2}}}, "launcher ray has no setting 'gpus'"),
        ({"launcher": {"bash": {"tasks_per_node": 0}}}, "tasks_per_node"),
        ({"mode": "slrum"}, "mode='slrum' is not known"),
        ({"enviroment": "uv"}, "enviroment"),
    ],
)
def test_what_cannot_work_is_refused_at_load(attributes: dict[str, Any], says: str, sandbox: DefsFolderSandbox) -> None:
    folder = written(sandbox, **attributes)
    with pytest.raises(ComponentTreeException) as caught, sandbox.load_component_and_build_defs(folder):
        pass
    assert says in "".join(traceback.format_exception(caught.value))


def test_a_script_that_is_not_there(sandbox: DefsFolderSandbox) -> None:
    folder = written(sandbox, execution={"path": "nowhere.py"})
    with pytest.raises(dg.Failure, match=r"There is no payload .*nowhere\.py"):
        materialize(sandbox, folder)


def test_it_is_registered() -> None:
    found = importlib.metadata.entry_points(group="dagster_dg_cli.registry_modules")
    module = next(point for point in found if point.name == "dagster_slurm").load()
    assert module.SlurmScriptComponent is SlurmScriptComponent
    assert "SlurmScriptComponent" in dir(module)
