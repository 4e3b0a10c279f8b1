"""What a user may get wrong, each with its message: nothing is sent anywhere, or the host says no."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import (
    BashLauncher,
    ComputeResource,
    Resources,
    SlurmQueueConfig,
    SlurmResource,
    SSHConnectionResource,
)
from dagster_slurm.engine import opening
from dagster_slurm.resources import targets
from testcluster import Cluster
from tests.dagster.conftest import connection
from tests.dagster.support import Bench, Failed, Payloads, asset_that_runs

# --- resources

BAD_RESOURCES = {
    "cpus": ({"cpus": 0}, "cpus=0 is not"),
    "cpus as text": ({"cpus": "many"}, "cpus='many' is not"),
    "nodes": ({"nodes": -1}, "nodes=-1 is not"),
    "memory": ({"mem": "4 apples"}, "mem='4 apples' is not an amount of memory"),
    "memory without a number": ({"mem": "G"}, "mem='G' is not an amount of memory"),
    "both memories": ({"mem": "4G", "mem_per_cpu": "1G"}, "mem and mem_per_cpu exclude each other"),
    "time": ({"time_limit": "soon"}, "time_limit='soon' is not understood"),
    "gpus": ({"gpus_per_node": "a100"}, "gpus_per_node='a100' is not understood"),
    "directive": ({"gpus_per_node": 1, "gpu_directive": "tres"}, "gpu_directive='tres' is not known"),
    "signal": ({"signal_before_timeout": "soon"}, "signal_before_timeout='soon' is not understood"),
    "newline": ({"partition": "a\n#SBATCH --uid=0"}, "partition="),
    "empty": ({"account": " "}, "account='' is empty"),
}


@pytest.mark.parametrize("what", BAD_RESOURCES)
def test_resources(bench: Bench, what: str) -> None:
    """In Python, in the words of sbatch, and in metadata: the same message, also in local mode."""
    given, told = BAD_RESOURCES[what]

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"], extra_slurm_opts=given)

    @dg.asset(metadata={"slurm_resources": given})
    def two(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"])

    for asset in (one, two):
        failed = bench.materialize(asset).failure
        assert failed.kind == "SlurmFailure"
        assert told in failed.text
        assert failed.metadata["slurm/error"] == "ConfigurationError"
        assert "What to do:" in failed.text
    with pytest.raises(Exception, match="ConfigurationError|" + told[:8]):
        Resources(**given)


def test_a_bad_queue_is_told_when_it_is_used(instance: dg.DagsterInstance, payloads: Payloads) -> None:
    slurm = SlurmResource(queue=SlurmQueueConfig(mem="4 apples"))
    failed = Bench(instance, ComputeResource(mode="slurm", slurm=slurm), payloads).refused()
    assert "mem='4 apples' is not an amount of memory" in failed.text


# --- payloads


def test_a_payload_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    failed = bench.refused("no/such.py")
    assert "There is no payload 'no/such.py'" in failed.text
    assert str(Path(__file__).parent / "no" / "such.py") in failed.text
    assert "beside the file that defines the asset" in failed.text
    assert f"The payload {tmp_path} is a folder" in bench.refused(tmp_path).text
    assert "payload_path=['train.py', '--rate', '1']" in bench.refused("train.py --rate 1").text
    assert "is no path" in bench.refused("").text
    assert "is an empty command" in bench.refused([]).text
    assert "is not a text" in bench.refused(["echo", 1]).text


@pytest.mark.parametrize(
    "name", ["with blank.py", "quote'\".py", "ünï.py", "-leading.py", "$HOME.py", "new\nline.py", "a;b.py"]
)
def test_odd_names(bench: Bench, name: str) -> None:
    path = bench.payloads.plain("import sys\nprint(sys.argv)\n", name)
    assert bench.run(path).success


@pytest.mark.cluster
def test_odd_names_on_the_cluster(cluster_bench: Bench) -> None:
    path = cluster_bench.payloads.plain("import helper\n", "-a b'\"ü$HOME;.py")
    (path.parent / "helper.py").write_text("")
    (path.parent / "data 'ü\".txt").write_text("")
    assert cluster_bench.run(path, extra_files={"x y/-z 'ü\".txt": path}).success


def test_a_payload_that_cannot_be_read(bench: Bench) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    path = bench.payloads.plain("")
    path.chmod(0)
    assert "cannot be read" in bench.refused(path).text


# --- folders


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("/proc/nowhere", "/proc/nowhere"),
        ("{file}/below", "{file}/below"),
        ("$NO_SUCH_VARIABLE/runs", "'$NO_SUCH_VARIABLE/runs' has a variable that is not set"),
    ],
)
def test_a_base_that_cannot_be_used(
    instance: dg.DagsterInstance, payloads: Payloads, tmp_path: Path, base: str, told: str
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    compute = ComputeResource(mode="local", local_base=base.format(file=file))
    failed = Bench(instance, compute, payloads).refused()
    assert told.format(file=file) in failed.text
    assert "What to do:" in failed.text


@pytest.mark.cluster
def test_a_base_on_the_cluster(cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads) -> None:
    """Not writable: named, with its host. With blanks and quotes in it: works."""

    def bench(base: str) -> Bench:
        slurm = SlurmResource(
            ssh=connection(cluster), queue=SlurmQueueConfig(partition="compute", mem="50M"), remote_base=base
        )
        return Bench(instance, ComputeResource(mode="slurm", slurm=slurm), payloads)

    failed = bench("/usr/dagster-slurm").refused()
    assert failed.metadata["slurm/error"] == "RemoteStorageError"
    assert "/usr/dagster-slurm on" in failed.text
    assert "Permission denied" in failed.text
    assert "remote_base" in failed.metadata["slurm/what_to_do"]
    ran = bench("~/a base 'with' \"ü\" %j").run(payloads.pipes("pipes.log.info('here')\nprint('out')"))
    assert ran.success
    assert "a base 'with' \"ü\" %j" in ran.metadata()["slurm/run_directory"]
    assert "here" in ran.logged("info")


# --- the way to the cluster


@pytest.fixture
def unused(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    """The cluster under a name to which no connection is open: one that is open would be shared."""
    known = tmp_path / "known_hosts"
    known.write_text(cluster.known_hosts.read_text().replace("127.0.0.1", "localhost"))
    return {"host": "localhost", "known_hosts_file": str(known)}


def unreachable(cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads, **changes: Any) -> Failed:
    slurm = SlurmResource(ssh=connection(cluster, **changes), queue=SlurmQueueConfig(partition="compute"))
    bench = Bench(instance, ComputeResource(mode="slurm", slurm=slurm, default_launcher=BashLauncher()), payloads)
    ran = bench.materialize(asset_that_runs(["true"]))
    assert not ran.success
    failed = ran.failure
    assert failed.kind == "SlurmFailure"
    assert "What to do:" in failed.text
    return failed


@pytest.mark.cluster
def test_a_wrong_key(
    cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads, tmp_path: Path, unused: dict[str, Any]
) -> None:
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    begun = time.monotonic()
    failed = unreachable(cluster, instance, payloads, **unused, key_path=str(key))
    assert failed.metadata["slurm/error"] == "CannotAuthenticate"
    assert cluster.user in failed.text
    assert "Permission denied" in failed.text
    assert time.monotonic() - begun < 20


@pytest.mark.cluster
def test_a_key_that_is_not_there(
    cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads, unused: dict[str, Any]
) -> None:
    failed = unreachable(cluster, instance, payloads, **unused, key_path="/no/such/key")
    assert "/no/such/key" in failed.text


@pytest.mark.cluster
def test_a_wrong_password(
    cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads, unused: dict[str, Any]
) -> None:
    failed = unreachable(cluster, instance, payloads, **unused, key_path=None, password="wr0ng-pa55word")
    assert failed.metadata["slurm/error"] == "CannotAuthenticate"
    assert "wr0ng-pa55word" not in failed.text


@pytest.mark.cluster
def test_a_host_that_is_unknown(cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads) -> None:
    failed = unreachable(cluster, instance, payloads, host="no-such-host.invalid")
    assert failed.metadata["slurm/error"] == "CannotConnect"
    assert "no-such-host.invalid" in failed.text


@pytest.mark.cluster
def test_a_key_of_the_host_that_is_unknown(
    cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads, tmp_path: Path
) -> None:
    failed = unreachable(cluster, instance, payloads, host="localhost", known_hosts_file=str(tmp_path / "empty"))
    assert failed.metadata["slurm/error"] == "HostKeyUnknown"
    assert "known_hosts" in failed.text


@pytest.mark.cluster
def test_a_wrong_port(
    cluster: Cluster, instance: dg.DagsterInstance, payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that never answered is tried for a while (90 s; here 2), and the log says so."""
    monkeypatch.setattr(opening, "FIRST_PATIENCE", 2.0)
    failed = unreachable(cluster, instance, payloads, port=1)
    assert failed.metadata["slurm/error"] == "CannotConnect"
    assert "Connection refused" in failed.text
    assert ":1" in failed.text or "port 1" in failed.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"port": 99999}, "99999"),
        ({"host": ""}, "host"),
        ({"host": "-oProxyCommand=touch /tmp/hit"}, "-oProxyCommand"),
        ({"user": "a b;c"}, "a b;c"),
        ({"jump_host": "-x"}, "-x"),
        ({"max_logins": 0}, "max_logins"),
    ],
)
def test_settings_that_no_ssh_would_take(
    instance: dg.DagsterInstance, payloads: Payloads, changes: dict[str, Any], told: str
) -> None:
    ssh = SSHConnectionResource(**{"host": "login", **changes})
    bench = Bench(instance, ComputeResource(mode="slurm", slurm=SlurmResource(ssh=ssh)), payloads)
    failed = bench.refused()
    assert failed.metadata["slurm/error"] == "ConfigurationError"
    assert told in failed.text
    assert not Path("/tmp/hit").exists()


def test_no_slurm_on_this_machine(
    instance: dg.DagsterInstance, payloads: Payloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode slurm without ssh is for login nodes."""
    monkeypatch.setattr(targets, "_hosts", {})
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("python3", "bash", "sh", "env"):
        (tools / name).symlink_to(next(path for place in ("/usr/bin", "/bin") if (path := Path(place, name)).exists()))
    monkeypatch.setenv("PATH", str(tools))
    slurm = SlurmResource(remote_base=str(tmp_path / "base"))
    bench = Bench(instance, ComputeResource(mode="slurm", slurm=slurm), payloads)
    failed = bench.refused()
    assert "sbatch" in failed.text
    targets.close_all()
