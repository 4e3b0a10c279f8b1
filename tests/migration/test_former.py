"""What dagster-slurm 1.x knew and this version does not: the error says what to write instead."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import dagster_slurm
from dagster_slurm import (
    ComputeLauncher,
    ComputeResource,
    LocalPipesClient,
    RayLauncher,
    SlurmPipesClient,
    SlurmQueueConfig,
    SlurmResource,
    SlurmRunConfig,
    SlurmSessionResource,
    SSHConnectionResource,
)
from dagster_slurm.core import former
from dagster_slurm.errors import ConfigurationError
from tests.dagster.conftest import DAGSTERS

GUIDE = Path(__file__).parents[2] / "docs" / "migrating.md"
MAKERS: dict[str, Callable[..., object]] = {
    "ComputeResource": ComputeResource,
    "SlurmSessionResource": SlurmSessionResource,
    "RayLauncher": RayLauncher,
    "LocalPipesClient": LocalPipesClient,
    "SlurmPipesClient": lambda **given: SlurmPipesClient(SlurmResource(), **given),
}
FIELDS = [(owner, name) for owner, fields in former.FIELDS.items() for name in fields]


@pytest.mark.parametrize(("owner", "name"), FIELDS)
def test_a_former_field(owner: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{owner} has no '{name}' any more") as caught:
        MAKERS[owner](**{name: "1"})
    assert caught.value.hint == former.FIELDS[owner][name]


def test_no_field_that_works_is_called_former() -> None:
    for owner, name in FIELDS:
        fields: dict[str, Any] = getattr(getattr(dagster_slurm, owner), "model_fields", {})
        assert name not in fields


@pytest.mark.parametrize("name", former.EXPORTS)
def test_a_former_name_of_the_package(name: str) -> None:
    with pytest.raises(ImportError, match=f"has no {name} any more. {re.escape(former.EXPORTS[name])}"):
        exec(f"from dagster_slurm import {name}", {})


def test_other_names_are_unknown_as_everywhere() -> None:
    assert not hasattr(importlib.import_module("dagster_slurm"), "Nothing")


@pytest.mark.parametrize("name", former.METHODS["ComputeResource"])
def test_a_former_method(name: str) -> None:
    compute = ComputeResource()
    with pytest.raises(ConfigurationError, match=f"'{name}' any more"):
        getattr(compute, name)
    assert not hasattr(compute, name)


@pytest.mark.filterwarnings(DAGSTERS)
@pytest.mark.parametrize("name", former.ARGUMENTS["run"])
def test_a_former_argument_of_run(name: str) -> None:
    context = dg.build_asset_context()
    with pytest.raises(dg.Failure) as caught:
        ComputeResource().run(context=context, payload_path="x.py", **{name: []})
    assert f"run() has no argument {name!r} any more" in str(caught.value.description)
    assert former.ARGUMENTS["run"][name] in str(caught.value.description)


def test_a_launcher_of_ones_own_says_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match="prepare_execution any more") as caught:
        type("Mine", (ComputeLauncher,), {"prepare_execution": None})
    assert "start(self, setting)" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("maker", "wrong", "right"),
    [
        (ComputeResource, "enviroment", "environment"),
        (SlurmResource, "remote_bas", "remote_base"),
        (SlurmQueueConfig, "partiton", "partition"),
        (SlurmRunConfig, "time_limits", "time_limit"),
        (SlurmSessionResource, "nodes", "num_nodes"),
        (SSHConnectionResource, "hostname", "host"),
    ],
)
def test_a_misspelled_field_names_the_nearest(maker: Callable[..., object], wrong: str, right: str) -> None:
    with pytest.raises(ConfigurationError, match=f"has no '{wrong}'") as caught:
        maker(**{wrong: "x"})
    assert repr(right) in str(caught.value.hint)


def test_a_config_of_ones_own_keeps_its_fields() -> None:
    class Mine(SlurmRunConfig):
        epochs: int = 3

    assert Mine(epochs=5, cpus=2).epochs == 5


def test_a_jump_host_as_a_connection() -> None:
    jump = SSHConnectionResource(host="gateway", user="me", port=2222)
    assert SSHConnectionResource(host="inner", jump_host=jump).jump_host == "me@gateway:2222"  # pyright: ignore[reportArgumentType]
    plain = SSHConnectionResource(host="gateway")
    assert SSHConnectionResource(host="inner", jump_host=plain).jump_host == "gateway"  # pyright: ignore[reportArgumentType]


def test_a_jump_host_with_a_key_of_its_own() -> None:
    jump = SSHConnectionResource(host="gateway", user="me", key_path="~/.ssh/other")
    with pytest.raises(ConfigurationError, match="gateway has a key or a password of its own") as caught:
        SSHConnectionResource(host="inner", jump_host=jump)  # pyright: ignore[reportArgumentType]
    assert "jump_host='me@gateway'" in str(caught.value.hint)


def test_a_cluster_by_the_environment_but_for_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_EDGE_NODE_HOST", raising=False)
    monkeypatch.setenv("SLURM_PARTITION", "gpu")
    slurm = SlurmResource.from_env_slurm(SSHConnectionResource(host="mine"))
    assert slurm.ssh is not None
    assert (slurm.ssh.host, slurm.defaults().partition) == ("mine", "gpu")


def test_the_guide_names_all_of_them() -> None:
    text = GUIDE.read_text()
    exempt = set(former.FIELDS["SlurmPipesClient"]) | {"SlurmAllocation", "SlurmMetricsContext"}
    exempt |= {"register_cluster", "get_pipes_client", "use_session", "python_executable"}
    tables = (former.FIELDS, former.METHODS, former.ARGUMENTS)
    names = {name for table in tables for item in table.values() for name in item}
    assert not sorted(name for name in (names | set(former.EXPORTS)) - exempt if name not in text)
