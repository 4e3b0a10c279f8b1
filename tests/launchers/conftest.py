import contextlib
import os
import pwd
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, Resources, SlurmQueueConfig, SlurmResource, SSHConnectionResource
from dagster_slurm.environments.choice import Named
from dagster_slurm.launchers.launcher import ComputeLauncher
from dagster_slurm.pipes.failure import SlurmFailure
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from testcluster import Cluster
from tests.clusters import cluster, make_cluster

__all__ = ["cluster", "make_cluster"]

PAYLOADS = Path(__file__).parent / "payloads"
REAL = pytest.param("slurm", marks=pytest.mark.cluster)


@pytest.fixture(scope="session", autouse=True)
def _private() -> Iterator[None]:
    """Sockets of shared connections lie in a short path of our own."""
    folder = tempfile.mkdtemp(prefix="dsll-", dir="/tmp")
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = folder
    yield
    os.environ.pop(FOLDER_VARIABLE)
    if before is not None:
        os.environ[FOLDER_VARIABLE] = before
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Outcome:
    """What became of an asset."""

    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    failure: SlurmFailure | None = None
    out: str = ""
    err: str = ""

    @property
    def error(self) -> str:
        assert self.failure is not None, self
        return str(self.failure.error)


@dataclass
class Stage:
    """Where assets run, and a folder that all of them see."""

    compute: ComputeResource
    shared: Path
    cluster: Cluster | None
    capture: pytest.CaptureFixture[str]
    base: Path

    @property
    def slurm(self) -> bool:
        return self.cluster is not None

    def run(
        self,
        payload: str | list[str],
        launcher: ComputeLauncher,
        resources: Resources,
        *,
        variables: Mapping[str, str] | None = None,
        environment: Named | None = None,
        **extras: Any,
    ) -> Outcome:
        """Materialize an asset with this payload, to its end."""
        outcome = Outcome()

        @dg.asset
        def it(context: dg.AssetExecutionContext, compute: ComputeResource):
            try:
                return compute.run(
                    context=context,
                    payload_path=PAYLOADS / payload if isinstance(payload, str) else payload,
                    launcher=launcher,
                    resources=resources,
                    environment=environment,
                    extras={"folder": str(self.shared), **extras},
                    # for packages that a test puts there
                    extra_env={"PYTHONPATH": str(self.shared), **(variables or {})},
                )
            except SlurmFailure as failure:
                outcome.failure = failure
                raise

        with dg.DagsterInstance.ephemeral() as instance:
            # Dagster's own, about its contexts
            warnings.filterwarnings("ignore", ".*deprecated and will be removed.*", DeprecationWarning)
            done = dg.materialize([it], resources={"compute": self.compute}, instance=instance, raise_on_error=False)
        for event in done.get_asset_materialization_events():
            outcome.metadata = {name: found.value for name, found in event.materialization.metadata.items()}
        outcome.out, outcome.err = self.capture.readouterr()
        assert done.success is (outcome.failure is None), outcome.err[-3000:]
        return outcome

    def begin(
        self, payload: str, launcher: ComputeLauncher, resources: Resources, **extras: Any
    ) -> Callable[[], Outcome]:
        """Materialize in a thread; the result is waited for by a call."""
        found: list[Outcome] = []
        thread = threading.Thread(
            target=lambda: found.append(self.run(payload, launcher, resources, **extras)), daemon=True
        )
        thread.start()

        def result() -> Outcome:
            thread.join(120)
            assert found, "not over after 120 s"
            return found[0]

        return result

    def wait_for(self, *names: str) -> None:
        """Wait for files that the payload writes."""
        deadline = time.monotonic() + 60
        while not all((self.shared / name).exists() for name in names):
            assert time.monotonic() < deadline, names
            time.sleep(0.05)

    def cancel(self, *options: str) -> None:
        """``scancel`` the user's running jobs."""
        assert self.cluster is not None
        self.cluster.admin(["scancel", *options, f"--user={self.cluster.user}", "--state=RUNNING"])


@pytest.fixture(params=["local", REAL])
def stage(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """Both modes."""
    if request.param == "local":
        yield local_stage(tmp_path, capsys)
    else:
        with real_stage(request.getfixturevalue("cluster"), capsys) as real:
            yield real


@pytest.fixture
def slurm(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """The real cluster alone."""
    with real_stage(cluster, capsys) as real:
        yield real


@contextlib.contextmanager
def stage_with(request: pytest.FixtureRequest, mode: str, environment: Path | None) -> Iterator[Stage]:
    """A mode by its name, with a Python environment."""
    capsys = request.getfixturevalue("capsys")
    if mode == "local":
        yield local_stage(request.getfixturevalue("tmp_path"), capsys, environment)
    else:
        with real_stage(request.getfixturevalue("cluster"), capsys, environment) as real:
            yield real


def local_stage(folder: Path, capsys: pytest.CaptureFixture[str], environment: Path | None = None) -> Stage:
    shared = folder / "shared"
    shared.mkdir()
    compute = ComputeResource(
        mode="local",
        local_base=str(folder / "base"),
        pre_deployed_env_path=str(environment) if environment else None,
    )
    return Stage(compute, shared, None, capsys, folder)


@contextlib.contextmanager
def real_stage(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], environment: Path | None = None
) -> Iterator[Stage]:
    user = pwd.getpwnam(cluster.user)
    place = Path(tempfile.mkdtemp(prefix="launchers-", dir=cluster.home))
    os.chown(place, user.pw_uid, user.pw_gid)
    shared = place / "shared"
    shared.mkdir()
    os.chown(shared, user.pw_uid, user.pw_gid)
    ssh = SSHConnectionResource(
        host="127.0.0.1",
        port=cluster.ssh_port,
        user=cluster.user,
        key_path=str(cluster.key_path),
        known_hosts_file=str(cluster.known_hosts),
    )
    slurm = SlurmResource(
        ssh=ssh, remote_base=str(place / "base"), queue=SlurmQueueConfig(partition="compute", time_limit=5, mem=300)
    )
    compute = ComputeResource(
        mode="slurm", slurm=slurm, pre_deployed_env_path=str(environment) if environment else None
    )
    yield Stage(compute, shared, cluster, capsys, place)
    shutil.rmtree(place, ignore_errors=True)
