"""A tunnel to the dashboard of a running job."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_slurm import BashLauncher, RayLauncher, Resources, SparkLauncher
from dagster_slurm.cli import main
from dagster_slurm.engine.tunnel import Tunnel
from dagster_slurm.errors import RequestFailed
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.transport import SSHTransport
from testcluster import Cluster
from tests.launchers import environments
from tests.launchers.conftest import Stage, local_stage, real_stage

ONE = Resources(cpus=1)


def transport(stage: Stage) -> SSHTransport:
    assert stage.compute.slurm is not None
    return SSHTransport(stage.compute.slurm.ssh.settings())


@contextmanager
def running(stage: Stage, host: str = "127.0.0.1") -> Iterator[str]:
    """A job with a page; yields its id."""
    result = stage.begin("board.py", BashLauncher(), ONE, host=host)
    stage.wait_for("begun")
    yield (stage.shared / "job").read_text()
    (stage.shared / "stop").touch()
    assert result().failure is None


def page(port: int, path: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read()


@pytest.mark.cluster
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_pages_arrive_through_a_tunnel(slurm: Stage, host: str) -> None:
    with running(slurm, host) as job:
        tunnel = Tunnel(transport(slurm), job)
        serving = threading.Thread(target=tunnel.serve, daemon=True)
        serving.start()
        assert re.fullmatch(r"node\d", tunnel.dashboard.node)
        assert tunnel.dashboard.token == "sesame"
        paths = [f"/page/{number}" for number in range(12)]
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda path: page(tunnel.port, path), paths))
        assert found == [f"{path}\n".encode() * 20_000 for path in paths]
        tunnel.close()
        serving.join(20)
        assert not serving.is_alive()


@pytest.mark.cluster
def test_the_end_of_the_job_ends_the_tunnel(slurm: Stage) -> None:
    with running(slurm) as job:
        tunnel = Tunnel(transport(slurm), job)
    assert tunnel.serve() == "the job ended"
    tunnel.close()


@pytest.mark.cluster
def test_what_is_not_there_is_said(slurm: Stage) -> None:
    for job, text in (
        ("99999999", "Slurm knows no job 99999999"),
        ("some; job", "neither a job id nor a run directory"),
        ("/nonexistent/run", "No such file"),
    ):
        with pytest.raises(RequestFailed, match=text):
            Tunnel(transport(slurm), job)


def steps(stage: Stage, job: str) -> list[str]:
    """Steps of a job that srun started."""
    assert stage.cluster is not None
    listed = stage.cluster.admin(["squeue", "--steps", "--noheader", f"--jobs={job}", "--format=%i"]).split()
    return [step for step in listed if re.search(r"\.\d+$", step)]


@pytest.mark.cluster
def test_where_the_site_forbids_ssh_a_step_of_the_job_leads_there(slurm: Stage) -> None:
    with running(slurm) as job:
        tunnel = Tunnel(transport(slurm), job)
        assert len(steps(slurm, job)) == 1
        tunnel.close()
        deadline = time.monotonic() + 30
        while steps(slurm, job):
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.fixture
def jumps(cluster: Cluster) -> Iterator[None]:
    """The user may log in from the login node to the others."""
    user, folder = pwd.getpwnam(cluster.user), Path(cluster.home) / ".ssh"
    config, key = folder / "config", folder / "jump"
    folder.mkdir(mode=0o700)
    os.chown(folder, user.pw_uid, user.pw_gid)
    shutil.copyfile(cluster.key_path, key)
    config.write_text(
        f"Host node*\n  HostName 127.0.0.1\n  Port {cluster.ssh_port}\n  IdentityFile {key}\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
    )
    for path in (config, key):
        path.chmod(0o600)
        os.chown(path, user.pw_uid, user.pw_gid)
    yield
    shutil.rmtree(folder)


@pytest.mark.cluster
@pytest.mark.usefixtures("jumps")
def test_where_ssh_leads_to_nodes_it_is_the_way(slurm: Stage) -> None:
    with running(slurm) as job:
        tunnel = Tunnel(transport(slurm), job)
        threading.Thread(target=tunnel.serve, daemon=True).start()
        assert page(tunnel.port, "/jump").startswith(b"/jump\n")
        assert steps(slurm, job) == []
        tunnel.close()


@pytest.mark.cluster
def test_the_command(cluster: Cluster, slurm: Stage) -> None:
    with (
        running(slurm) as job,
        subprocess.Popen(
            [sys.executable, "-c", "from dagster_slurm.cli import main; main()", "dashboard", job],
            env={**os.environ, **cluster.client_environment},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        port = re.match(r"http://127\.0\.0\.1:(\d+) is the dashboard on node\d ", first)
        assert port is not None, first
        assert second == "If it asks for a token: sesame\n"
        assert page(int(port[1]), "/x").startswith(b"/x\n")
        process.terminate()


@pytest.mark.cluster
@pytest.mark.slow
def test_rays_own_dashboard(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys, environments.ray_with_dashboard()) as stage:
        asked = Resources(nodes=2, cpus=2, mem=2500)
        result = stage.begin("ray_tasks.py", RayLauncher(dashboard=True), asked, what="wait")
        stage.wait_for("begun")
        (state,) = stage.base.glob("base/runs/*/*/*/ray.0")
        tunnel = Tunnel(transport(stage), str(state.parent))
        threading.Thread(target=tunnel.serve, daemon=True).start()
        assert b"Ray" in page(tunnel.port, "/")
        question = urllib.request.Request(
            f"http://127.0.0.1:{tunnel.port}/nodes?view=summary",
            headers={"Authorization": f"Bearer {tunnel.dashboard.token}"},
        )
        with urllib.request.urlopen(question, timeout=20) as answer:
            assert len(json.loads(answer.read())["data"]["summary"]) == 2
        with pytest.raises(urllib.error.HTTPError, match="401"):
            page(tunnel.port, "/nodes?view=summary")
        tunnel.close()
        stage.cancel()
        assert "was cancelled" in result().error


@pytest.mark.cluster
@pytest.mark.slow
def test_the_page_of_sparks_master(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with real_stage(cluster, capsys, environments.spark()) as stage:
        asked = Resources(nodes=2, cpus=2, mem=2000)
        result = stage.begin("spark_jobs.py", SparkLauncher(), asked, what="wait")
        stage.wait_for("begun")
        (state,) = stage.base.glob("base/runs/*/*/*/spark.0")
        tunnel = Tunnel(transport(stage), str(state.parent))
        threading.Thread(target=tunnel.serve, daemon=True).start()
        assert json.loads(page(tunnel.port, "/json/"))["aliveworkers"] == 2
        tunnel.close()
        stage.cancel()
        assert "was cancelled" in result().error


def test_a_run_of_local_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = local_stage(tmp_path, capsys)
    with running(stage):
        (directory,) = stage.base.glob("base/runs/*/*/*")
        tunnel = Tunnel(LocalTransport(), str(directory))
        threading.Thread(target=tunnel.serve, daemon=True).start()
        assert page(tunnel.port, "/local").startswith(b"/local\n")
        tunnel.close()


def test_whose_dashboard_is_not_said() -> None:
    result = CliRunner(env={"SLURM_EDGE_NODE_HOST": ""}).invoke(main, ["dashboard", "1"])
    assert result.exit_code == 1
    assert "it is not said which cluster is meant" in result.output
