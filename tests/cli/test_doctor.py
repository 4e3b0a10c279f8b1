"""``dagster-slurm doctor`` on real clusters, healthy and not."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmResource
from dagster_slurm.resources import targets
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from testcluster import Cluster
from tests.cli.conftest import invoke, read

pytestmark = pytest.mark.cluster
Found = dict[str, dict[str, str]]


def doctor(cluster: Cluster, *options: object, code: int = 0, config: Path | None = None) -> Any:
    return read("doctor", cluster.ssh_alias, "-F", config or cluster.ssh_config, *options, code=code)


@pytest.fixture
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection of another test is at hand; a socket's path must be short."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv(FOLDER_VARIABLE, folder)
        yield


def by_name(answer: Any) -> Found:
    return {item["what"]: item for item in answer["findings"]}


def changed(cluster: Cluster, folder: Path, old: str, new: str) -> Path:
    """The cluster's ssh configuration, with one line changed."""
    text = cluster.ssh_config.read_text()
    assert old in text
    path = folder / "ssh_config"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")
def test_a_healthy_cluster(cluster: Cluster, tmp_path: Path) -> None:
    printed = invoke("doctor", cluster.ssh_alias, "-F", cluster.ssh_config, "--profile", "site.yaml").output
    assert "bad " not in printed
    python = printed[printed.index("from dagster_slurm") : printed.index("The same is in")]
    said: dict[str, Any] = {}
    exec(python, said)
    assert said["compute"].mode == "slurm"
    assert said["compute"].slurm.model_dump() == SlurmResource.from_profile("site.yaml").model_dump()
    materialized(ComputeResource(mode="slurm", slurm=SlurmResource.from_profile(tmp_path / "site.yaml")), tmp_path)


def materialized(compute: ComputeResource, folder: Path) -> None:
    """An asset runs with these settings and no others."""
    (folder / "payload.sh").write_text("echo hello from the job")

    @dg.asset
    def hello(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=folder / "payload.sh")

    result = dg.materialize([hello], resources={"compute": compute})
    assert result.success
    assert result.asset_materializations_for_node("hello")[0].metadata["slurm/partition"].value == "compute"
    targets.close_all()


def test_everything_is_looked_at(cluster: Cluster) -> None:
    answer = doctor(cluster, "--profile", "-")
    found = by_name(answer)
    assert answer["well"] is True
    assert not answer["profile"]
    assert {name for name, item in found.items() if item["level"] == "bad"} == set()
    expected = (
        "SSH config|host key|authentication|sessions|python3|clock|Slurm|accounting|partitions|account|QOS|limits|GPUs|"
        "job arrays|heterogeneous jobs|quota|home|folder for runs|test job|python3 on nodes|clock on nodes|"
        "internet on nodes|Java on nodes|containers"
    )
    assert set(expected.split("|")) == set(found)
    assert found["account"]["text"] == "research (your default)"
    assert found["test job"]["text"].startswith("job ")
    assert answer["slurm"]["queue"] == {"partition": "compute", "time_limit": "01:00:00", "account": "research"}


def test_other_choices(cluster: Cluster) -> None:
    answer = doctor(cluster, "--partition", "gpu", "--base", "~/elsewhere", "--no-job")
    assert "test job" not in by_name(answer)
    assert answer["slurm"]["queue"]["partition"] == "gpu"
    assert answer["slurm"]["remote_base"] == "~/elsewhere"
    assert Path(answer["profile"]).name == f"{cluster.ssh_alias}.yaml"


@pytest.mark.parametrize(
    ("options", "what", "text"),
    [
        (["--partition", "nowhere"], "partitions", "there is no partition 'nowhere'; there are: compute"),
        (["--account", "theirs"], "account", "theirs is not yours; yours: research"),
        (["--qos", "unknown"], "plain job", "sbatch would refuse it"),
        (["--base", "/proc/here"], "folder for runs", "/proc/here cannot be written"),
        (["--base", "$NOBODY_SET_THIS/x"], "login node", "has a variable that is not set"),
    ],
)
def test_what_is_in_the_way(options: list[str], what: str, text: str, cluster: Cluster, tmp_path: Path) -> None:
    answer = doctor(cluster, *options, code=1)
    found = by_name(answer)[what]
    assert found["level"] == "bad"
    assert text in found["text"]
    assert found["remedy"] or what == "login node"
    assert "test job" not in by_name(answer)
    assert not answer["profile"]
    assert list(tmp_path.glob("*.yaml")) == []


def test_no_such_host(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    printed = invoke("doctor", "no-such-host.invalid", "-F", tmp_path / "config", code=1).output
    assert "bad   network" in printed
    assert "There is no host 'no-such-host.invalid'" in printed
    assert "Runs cannot work yet: network" in printed


@pytest.mark.usefixtures("nobody_is_logged_in")
def test_a_refused_login(cluster: Cluster, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    config = changed(cluster, tmp_path, str(cluster.key_path), str(tmp_path / "other"))
    answer = doctor(cluster, config=config, code=1)
    found = by_name(answer)
    assert (found["host key"]["level"], found["authentication"]["level"]) == ("ok", "bad")
    assert "dagster-slurm login" in found["authentication"]["remedy"]


@pytest.mark.usefixtures("nobody_is_logged_in")
def test_an_unknown_host_key(cluster: Cluster, tmp_path: Path) -> None:
    config = changed(cluster, tmp_path, str(cluster.known_hosts), str(tmp_path / "none"))
    answer = doctor(cluster, config=config, code=1)
    assert by_name(answer)["host key"]["level"] == "bad"
    assert "ssh-keyscan" in by_name(answer)["host key"]["remedy"]


def test_a_job_that_does_not_start_is_cancelled(cluster: Cluster) -> None:
    everything = f"sbatch --parsable --nodes={cluster.options.nodes} --exclusive --time=5 --wrap='sleep 300'"
    blocking = cluster.ssh(everything).stdout.strip()
    try:
        answer = doctor(cluster, "--wait", 8)
    finally:
        cluster.admin(["scancel", blocking])
    found = by_name(answer)["test job"]
    assert found["level"] == "note"
    assert "did not start within 8 s" in found["text"]
    job = found["text"].split()[1]
    assert cluster.admin(["squeue", "-h", "-j", job, "-t", "all", "-o", "%T"]).strip() == "CANCELLED"
    assert answer["profile"]


def test_here_no_ssh_is_needed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    answer = read("doctor", "here", "--base", tmp_path / "base", "--no-job")
    assert "SSH config" not in by_name(answer)
    assert by_name(answer)["account"]["text"] == "root (your default)"
    assert "ssh" not in answer["slurm"]
    assert SlurmResource.from_profile("here.yaml").ssh is None


def test_nothing_but_python_is_asked_of_a_host_without_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python3", "sh", "bash", "which"):
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("SHELL", "/bin/false")
    answer = json.loads(invoke("doctor", "here", "--json", code=1).stdout)
    found = by_name(answer)["Slurm"]
    assert found["level"] == "bad"
    assert "login node" in found["remedy"]


def test_a_poor_cluster(make_cluster: Callable[..., Cluster]) -> None:
    poor = make_cluster(accounting=False, gpu_nodes=0, max_sessions=1, max_array_size=1)
    answer = doctor(poor)
    found = by_name(answer)
    assert {name for name, item in found.items() if item["level"] == "bad"} == set()
    for name in ("accounting", "sessions", "job arrays"):
        assert found[name]["level"] == "note", found[name]
        assert found[name]["remedy"]
    assert found["sessions"]["text"].startswith("1 at once")
    assert found["account"]["text"] == "none is needed"
    assert found["GPUs"]["text"] == "no partition has any"
    assert "account" not in answer["slurm"]["queue"]
