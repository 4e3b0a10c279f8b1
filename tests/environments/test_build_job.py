"""Environments that are built in a small Slurm job, and manners on the login node."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_slurm import ComputeResource, SlurmQueueConfig, SlurmResource
from dagster_slurm.environments.environment import BuildJob, Site
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError, EnvironmentNotBuilt
from dagster_slurm.resources import targets
from dagster_slurm.resources.surroundings import build_job
from testcluster import Cluster
from tests.environments.conftest import Told
from tests.environments.test_in_assets import materialize, reported, slurm

__all__ = ["slurm"]

Tell = Callable[[str], None]


def resource(slurm: SlurmResource, **options: object) -> SlurmResource:
    values = {"ssh": slurm.ssh, "queue": slurm.queue, "remote_base": slurm.remote_base, **options}
    return SlurmResource(**values)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def there(slurm: SlurmResource) -> Iterator[Callable[..., Site]]:
    """Sites on the cluster that build in jobs."""

    def make(**options: object) -> Site:
        asked = resource(slurm, env_build="job", **options)
        target = targets.cluster(asked)
        base = f"{target.place().base}/envs"
        return Site(agent=target.host, base=base, build_job=build_job(asked, target))

    yield make
    targets.close_all()


def prepared(site: Site, project: Path) -> PackedUv:
    return UvEnvironment(project=project, python="3.11").prepare(site)


def folder_owner(site: Site) -> int:
    """The account on the cluster, whose jobs are apart from those of others."""
    return Path(site.base).stat().st_uid


def built(environment: PackedUv) -> Path:
    return Path(environment.place())


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_an_asset_whose_environment_is_built_in_a_job(tmp_path: Path, project: Path, slurm: SlurmResource) -> None:
    compute = ComputeResource(mode="slurm", slurm=resource(slurm, env_build="job"))
    found = reported(materialize(compute, tmp_path, environment=UvEnvironment(project=project)))
    assert found["six"] == "1.16.0"


@pytest.mark.cluster
def test_it_is_built_compiled_and_told(there: Callable[..., Site], project: Path, told: Told, tell: Tell) -> None:
    environment = prepared(there(), project)
    environment.ensure(tell)
    assert any("is built in job" in line for line in told)
    assert "was built in" in told[-1]
    assert list(built(environment).glob("lib/python3*/site-packages/__pycache__/six*.pyc"))
    told.clear()
    environment.ensure(tell)
    assert told == []


@pytest.mark.cluster
def test_two_who_ask_share_the_job(
    there: Callable[..., Site], project: Path, told: Told, tell: Tell, cluster: Cluster
) -> None:
    environment = prepared(there(), project)
    threads = [threading.Thread(target=environment.ensure, args=(tell,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jobs = {line.split("built in job ")[1].split()[0] for line in told if "built in job" in line}
    assert len(jobs) == 1
    assert (built(environment) / ".dagster-slurm" / "ready").exists()


@pytest.mark.cluster
def test_a_build_that_fails_in_its_job(there: Callable[..., Site], project: Path, tell: Tell) -> None:
    environment = prepared(there(), project)
    broken = replace(environment, python=replace(environment.python, path="/nowhere/python3"))
    with pytest.raises(EnvironmentNotBuilt, match="/nowhere/python3") as caught:
        broken.ensure(tell)
    assert "uv" in str(caught.value.command)
    assert not built(broken).exists()


@pytest.mark.cluster
def test_what_slurm_refuses(there: Callable[..., Site], project: Path, tell: Tell) -> None:
    environment = prepared(there(env_build_options={"partition": "nowhere"}), project)
    with pytest.raises(DagsterSlurmError, match="partition"):
        environment.ensure(tell)


@pytest.mark.cluster
def test_a_cancelled_build_is_said_and_the_next_run_mends_it(
    there: Callable[..., Site], project: Path, cluster: Cluster, tell: Tell
) -> None:
    # a job that never begins
    site = there(env_build_options={"begin": "now+1hour"})
    environment = prepared(site, project)

    def cancel(text: str) -> None:
        if "built in job" in text:
            number = text.split("built in job ")[1].split(maxsplit=1)[0]
            cluster.run(["scancel", number])
            folder = Path(site.base) / "built" / ".jobs" / str(folder_owner(site)) / environment.key()
            note = json.loads((folder / "job.json").read_text())
            (folder / "job.json").write_text(json.dumps({**note, "seen": 0, "time": note["time"] - 60}))

    with pytest.raises(EnvironmentNotBuilt, match="ended without a word"):
        environment.ensure(cancel)
    prepared(there(), project).ensure(tell)
    assert (built(environment) / ".dagster-slurm" / "ready").exists()


def test_when_it_is_a_job(slurm: SlurmResource) -> None:
    target = targets.cluster(slurm)

    def made(**options: object) -> BuildJob | None:
        return build_job(resource(slurm, **options), target)

    automatic, always = made(), made(env_build="job", env_build_options={"mem": "4G"})
    assert automatic is not None
    assert always is not None
    assert (automatic.above, always.above) == (10**9, 0)
    assert "--mem=4096M" in always.header
    assert made(env_build="login") is None
    with pytest.raises(ConfigurationError, match="env_build='jobs' is not known"):
        made(env_build="jobs")


def test_what_the_queue_says_of_accounts_holds_for_it(slurm: SlurmResource) -> None:
    queue = SlurmQueueConfig(account="project42", partition="gpu", gpus_per_node=4, cpus=64, num_nodes=9)
    asked = SlurmResource(ssh=slurm.ssh, queue=queue)
    job = build_job(asked, targets.cluster(asked))
    assert job is not None
    assert {"--account=project42", "--partition=gpu", "--nodes=1", "--cpus-per-task=2"} <= set(job.header)
    assert not any("gpus" in line or "gres" in line for line in job.header)


def test_manners_on_the_login_node(site: Site, project: Path, tell: Tell, tmp_path: Path) -> None:
    """What uv is started with: nice, two workers, and no bytecode is left behind."""
    environment = UvEnvironment(project=project, python=sys.executable).prepare(site)
    environment.ensure(tell)
    assert not list(built(environment).rglob("*.pyc"))
    tool = next((Path(site.base) / "tools").glob("uv-*"))
    real = tool.with_name("real")
    tool.rename(real)
    tool.write_text(
        f'#!/bin/bash\n{{ ps -o ni= -p $$; env | grep -E "^(UV|TOKIO|RAYON)_"; }} >>{tmp_path}/seen\nexec {real} "$@"\n'
    )
    tool.chmod(0o700)
    environment.ensure(tell, force=True)
    seen = (tmp_path / "seen").read_text().split("\n")
    assert int(seen[0]) >= 10
    assert {"UV_CONCURRENT_INSTALLS=2", "RAYON_NUM_THREADS=2", "TOKIO_WORKER_THREADS=2", "UV_OFFLINE=1"} <= set(seen)
    assert subprocess.run([built(environment) / "bin" / "python", "-c", "import six"], check=False).returncode == 0
