"""Environments of assets: who decides, what a job notices, and what the next run mends."""

import os
import runpy
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource, SlurmRunConfig, SSHConnectionResource
from dagster_slurm.environments.uv import UvEnvironment
from testcluster import Cluster
from tests.environments.conftest import write

PAYLOAD = """
import os, sys
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    found = {"python": sys.executable, "version": "%d.%d" % sys.version_info[:2]}
    found["prefix"] = os.environ.get("CONDA_PREFIX", "")
    try:
        import helperlib, mine, six, markupsafe._speedups
        found["six"] = six.__version__
    except ImportError as error:
        found["six"] = str(error)
    pipes.report_asset_materialization(metadata=found)
"""


def materialize(
    compute: ComputeResource,
    folder: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    config: SlurmRunConfig | None = None,
    **arguments: Any,
) -> dg.ExecuteInProcessResult:
    payload = write(folder / "payload" / "main.py", PAYLOAD)

    @dg.asset(metadata=metadata)
    def probe(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload, config=config, **arguments)

    return dg.materialize([probe], resources={"compute": compute}, raise_on_error=False)


def reported(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success, failure(result)
    (event,) = result.asset_materializations_for_node("probe")
    return {name: value.value for name, value in event.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(str(event.event_specific_data) for event in result.filter_events(lambda e: e.is_step_failure))


@pytest.fixture
def local(tmp_path: Path, warm: Path) -> ComputeResource:
    return ComputeResource(mode="local", local_environment="same", local_base=str(tmp_path / "base"))


def test_beside_dagster_its_own_python_is_the_default(tmp_path: Path, project: Path) -> None:
    compute = ComputeResource(
        mode="local", local_base=str(tmp_path / "base"), environment=UvEnvironment(project=project)
    )
    assert reported(materialize(compute, tmp_path))["python"] == sys.executable


def test_the_packed_environment_can_be_tried_beside_dagster(
    tmp_path: Path, project: Path, local: ComputeResource
) -> None:
    environment = UvEnvironment(project=project, python=sys.executable)
    found = reported(materialize(local, tmp_path, environment=environment))
    assert found["six"] == "1.16.0"
    assert found["python"].startswith(str(tmp_path / "base" / "envs" / "built"))


def test_who_decides(tmp_path: Path, project: Path, warm: Path) -> None:
    base, packed = str(tmp_path / "base"), UvEnvironment(project=project, python=sys.executable)
    compute = ComputeResource(mode="local", local_environment="same", local_base=base, environment=packed)
    plain = {"slurm_environment": "plain"}
    uv = {"slurm_environment": {"uv": {"project": str(project), "python": sys.executable}}}
    assert "/envs/built/" in reported(materialize(compute, tmp_path))["python"]
    assert reported(materialize(compute, tmp_path, metadata=plain))["python"] == sys.executable
    config = SlurmRunConfig(environment="plain")
    assert reported(materialize(compute, tmp_path, metadata=uv, config=config))["python"] == sys.executable
    found = reported(materialize(compute, tmp_path, metadata=plain, config=config, environment=packed))
    assert "/envs/built/" in found["python"]


def test_two_names_at_once(tmp_path: Path, local: ComputeResource) -> None:
    both = {"slurm_environment": "plain", "slurm_pre_deployed_env_path": "/opt/env"}
    assert "Leave one of them out" in failure(materialize(local, tmp_path, metadata=both))


def test_unknown_names_are_refused(tmp_path: Path, local: ComputeResource) -> None:
    assert 'Did you mean "plain"?' in failure(materialize(local, tmp_path, environment="plan"))


def test_a_purged_file_is_named_before_the_payload_starts_and_the_next_run_mends_it(
    tmp_path: Path, project: Path, local: ComputeResource
) -> None:
    environment = UvEnvironment(project=project, python=sys.executable)
    found = reported(materialize(local, tmp_path, environment=environment))
    folder = Path(found["python"]).parents[1]
    purged = next(folder.glob("lib/python3*/site-packages/six.py"))
    purged.unlink()
    text = failure(materialize(local, tmp_path, environment=environment))
    assert "perhaps purged" in text
    assert str(purged.relative_to(folder)) in text
    assert "Run it again: the environment is built anew" in text
    assert reported(materialize(local, tmp_path, environment=environment))["six"] == "1.16.0"


def test_an_environment_that_is_gone_is_built_again(tmp_path: Path, project: Path, local: ComputeResource) -> None:
    environment = UvEnvironment(project=project, python=sys.executable)
    found = reported(materialize(local, tmp_path, environment=environment))
    os.rename(Path(found["python"]).parents[1], tmp_path / "gone")  # noqa: PTH104
    assert reported(materialize(local, tmp_path, environment=environment))["six"] == "1.16.0"


# --- on a cluster


@pytest.fixture
def slurm(cluster: Cluster, runtime: Path, tmp_path: Path) -> SlurmResource:
    # /work and /tmp are not the cluster user's: all that it needs travels
    ssh = SSHConnectionResource(host=cluster.ssh_alias, config_file=str(cluster.ssh_config))
    queue = SlurmQueueConfig(cpus=1, mem="200M", time_limit=5)
    # a cluster that is kept has what earlier sessions left
    return SlurmResource(ssh=ssh, queue=queue, remote_base=f"~/env-tests/{os.getpid()}-{tmp_path.name}")


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_on_a_cluster_from_a_clean_state_by_the_lock_alone(tmp_path: Path, project: Path, slurm: SlurmResource) -> None:
    compute = ComputeResource(mode="slurm", slurm=slurm, environment=UvEnvironment(project=project))
    found = reported(materialize(compute, tmp_path))
    assert found["six"] == "1.16.0"
    assert "/envs/built/" in found["python"]
    Path(found["python"]).parents[1].joinpath("lib", f"python{found['version']}", "site-packages", "six.py").unlink()
    assert "perhaps purged" in failure(materialize(compute, tmp_path))
    assert reported(materialize(compute, tmp_path))["six"] == "1.16.0"


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_a_wrong_python_is_said_before_anything_is_sent(tmp_path: Path, project: Path, slurm: SlurmResource) -> None:
    environment = UvEnvironment(project=project, python="3.4")
    text = failure(materialize(ComputeResource(mode="slurm", slurm=slurm), tmp_path, environment=environment))
    assert "has no Python 3.4; nothing was sent" in text


DEFINITIONS = """
import dagster as dg
from dagster_slurm import ComputeResource

@dg.asset
def probe(context: dg.AssetExecutionContext, compute: ComputeResource):
    return compute.run(context=context, payload_path="payload/main.py")
"""


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_on_a_cluster_auto_is_the_default(tmp_path: Path, project: Path, slurm: SlurmResource) -> None:
    # this file's own project says "plain"
    compute = ComputeResource(mode="slurm", slurm=slurm)
    assert reported(materialize(compute, tmp_path))["python"] == "/usr/bin/python3"
    write(project / "src" / "payload" / "main.py", PAYLOAD)
    probe = runpy.run_path(str(write(project / "src" / "definitions.py", DEFINITIONS)))["probe"]
    found = reported(dg.materialize([probe], resources={"compute": compute}, raise_on_error=False))
    assert "/envs/built/" in found["python"]


# --- payloads that lie with their environment


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A pre-deployed environment with a payload."""
    folder = tmp_path / "base" / "envs" / "weather"
    write(folder / "activate.sh", f"export DEPLOYED=yes PATH={shlex.quote(str(folder / 'bin'))}:$PATH\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)  # a machine's own may be called python3 only
    text = "import os\nfrom dagster_pipes import open_dagster_pipes\nwith open_dagster_pipes() as pipes:\n"
    write(
        folder / "scripts" / "sub" / "main.py",
        text + '    pipes.report_asset_materialization({"x": os.environ["DEPLOYED"]})\n',
    )
    return folder


@pytest.mark.parametrize("path", ["sub/main.py", "absolute"])
def test_payloads_under_scripts(tmp_path: Path, deployed: Path, path: str) -> None:
    compute = ComputeResource(
        mode="local",
        local_base=str(tmp_path / "base"),
        pre_deployed_env_path="weather",
        default_skip_payload_upload=True,
    )
    payload = str(deployed / "scripts" / "sub" / "main.py") if path == "absolute" else path

    @dg.asset
    def probe(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload)

    result = dg.materialize([probe], resources={"compute": compute}, raise_on_error=False)
    assert reported(result)["x"] == "yes"
    assert not [bundle for bundle in (tmp_path / "base" / "store").iterdir() if (bundle / "main.py").exists()]


def test_a_relative_payload_without_such_an_environment(tmp_path: Path) -> None:
    compute = ComputeResource(mode="local", local_base=str(tmp_path / "base"), default_skip_payload_upload=True)

    @dg.asset
    def probe(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path="main.py")

    text = failure(dg.materialize([probe], resources={"compute": compute}, raise_on_error=False))
    assert "'main.py' is not an absolute path on the cluster" in text
    assert "under scripts/" in text
