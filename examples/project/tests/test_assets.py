"""All assets in local mode: what works here works on the cluster."""

import importlib.util
import shutil

import dagster as dg
import pytest
from rivers import assets, resources

from dagster_slurm import ComputeResource

HERE = ("SLURM_EDGE_NODE_HOST", "DAGSTER_SLURM_PROFILE", "DEPLOYMENT")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Both resources, in local mode; the files between the assets in a folder of the test."""
    for name in HERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(assets, "DATA", str(tmp_path / "data"))
    local = ComputeResource(mode="local", local_base=str(tmp_path / "runs"))
    return {"short": local, "large": local}


def materialized(selected, places, **options):
    """Materialize assets; return the metadata of each."""
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize(selected, resources=places, instance=instance, **options)
        events = ran.get_asset_materialization_events()
    return {
        event.asset_key.to_user_string(): {key: item.value for key, item in event.materialization.metadata.items()}
        for event in events
    }


def test_readings_and_statistics(places):
    for gauge in assets.gauges.get_partition_keys():
        found = materialized([assets.readings], places, partition_key=gauge)
        assert found["readings"]["days"] == 365
    assert materialized([assets.statistics], places)["statistics"]["gauges"] == 3


def test_processes_side_by_side(places):
    found = materialized([assets.floods], places)["floods"]
    assert found["processes"] == 2
    assert 100 < found["floods"] < 300


def test_components_one_after_another(places):
    found = materialized([assets.forecast], places)["forecast"]
    assert (found["prepare/points"], found["fit/slope"]) == (100, 2.0)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed here")
def test_on_ray(places):
    assert materialized([assets.clusters], places)["clusters"]["total"] == 285


@pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None, reason="no Spark or Java here"
)
def test_on_spark(places):
    assert materialized([assets.table], places)["table"]["rows"] == 500


@pytest.mark.parametrize(
    ("named", "short", "large"),
    [("development", "local", "local"), ("staging", "slurm", "slurm"), ("production", "slurm-session", "slurm")],
)
def test_the_environment_says_where(named, short, large, monkeypatch):
    monkeypatch.setenv("DEPLOYMENT", named)
    monkeypatch.setenv("SLURM_EDGE_NODE_HOST", "cluster")
    assert (resources.short().mode, resources.large().mode) == (short, large)


def test_a_deployment_that_there_is_not(monkeypatch):
    monkeypatch.setenv("DEPLOYMENT", "holiday")
    with pytest.raises(ValueError, match="it is development, staging or production"):
        resources.large()


def test_definitions_load():
    from rivers.definitions import defs  # noqa: PLC0415  # reads the environment

    dg.Definitions.validate_loadable(defs)
