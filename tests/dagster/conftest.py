from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, SlurmQueueConfig, SlurmResource, SSHConnectionResource
from dagster_slurm.resources import targets
from testcluster import Cluster
from tests.clusters import cluster, make_cluster
from tests.dagster.support import Bench, Payloads
from tests.dagster.ui import Ui, opened
from tests.fakeslurm import FakeSlurm, install

__all__ = ["cluster", "make_cluster"]

#: Dagster's own, wherever a resource has resources in it
DAGSTERS = "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
BOTH = pytest.mark.parametrize("where", ["local", pytest.param("slurm", marks=pytest.mark.cluster)])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(DAGSTERS))


@pytest.fixture(autouse=True, scope="session")
def _close_hosts() -> Iterator[None]:
    yield
    targets.close_all()


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance that is kept: with an ephemeral one nothing could be taken up again."""
    home = tmp_path_factory.mktemp("dagster_home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


@pytest.fixture
def payloads(tmp_path: Path) -> Payloads:
    return Payloads(tmp_path / "payloads")


@pytest.fixture
def local(tmp_path: Path) -> ComputeResource:
    return ComputeResource(mode="local", default_launcher=BashLauncher(), local_base=str(tmp_path / "base"))


def connection(cluster: Cluster, **changes: object) -> SSHConnectionResource:
    """How to reach a test cluster."""
    given = {
        "host": cluster.ssh_host,
        "port": cluster.ssh_port,
        "user": cluster.user,
        "key_path": str(cluster.key_path),
        "known_hosts_file": str(cluster.known_hosts),
    }
    return SSHConnectionResource(**{**given, **changes})


def on(cluster: Cluster, mode: str = "slurm", **changes: object) -> ComputeResource:
    """A resource for a test cluster. (Dagster forgets what ``model_copy`` changes in a resource.)"""
    queue = SlurmQueueConfig(partition="compute", cpus=1, mem="100M", time_limit="00:05:00")
    slurm = SlurmResource(**{"ssh": connection(cluster), "queue": queue, **changes})
    return ComputeResource(mode=mode, slurm=slurm, default_launcher=BashLauncher())


@pytest.fixture(scope="session")
def local_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI, runs in processes of their own, no cluster."""
    with opened(tmp_path_factory.mktemp("ui_home"), {"SLURM_EDGE_NODE_HOST": ""}) as ui:
        yield ui


@pytest.fixture(scope="session")
def ui(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI, runs in processes of their own, and the real cluster."""
    with opened(tmp_path_factory.mktemp("ui_home"), cluster.client_environment) as ui:
        yield ui


@pytest.fixture
def slurm(cluster: Cluster) -> ComputeResource:
    return on(cluster)


@pytest.fixture
def bench(instance: dg.DagsterInstance, local: ComputeResource, payloads: Payloads) -> Bench:
    """This machine."""
    return Bench(instance, local, payloads)


@pytest.fixture
def cluster_bench(instance: dg.DagsterInstance, slurm: ComputeResource, payloads: Payloads) -> Bench:
    """The real cluster."""
    return Bench(instance, slurm, payloads)


@pytest.fixture
def any_bench(request: pytest.FixtureRequest, where: str) -> Bench:
    """One after the other, for tests marked with ``BOTH``."""
    return request.getfixturevalue("bench" if where == "local" else "cluster_bench")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    with install(tmp_path / "slurm", kill_wait=0.3, seconds_per_minute=2.0) as installed:
        monkeypatch.setenv("PATH", installed.path)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(targets, "_hosts", {})
        yield installed
        targets.close_all()


@pytest.fixture
def fake_bench(fake: FakeSlurm, instance: dg.DagsterInstance, payloads: Payloads, tmp_path: Path) -> Bench:
    """Dagster on a login node whose Slurm can have any accident."""
    slurm = SlurmResource(remote_base=str(tmp_path / "base"), queue=SlurmQueueConfig(mem="100M"))
    return Bench(instance, ComputeResource(mode="slurm", slurm=slurm), payloads)


MakeCluster = Callable[..., Cluster]
