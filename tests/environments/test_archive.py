"""Environments that are one file each, unpacked once per node by the jobs that run there."""

import fcntl
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, Resources, SlurmResource
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.pixi import PixiEnvironment
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.remote import node_local, unpacking
from testcluster import Cluster
from tests.environments.conftest import write
from tests.environments.test_in_assets import failure, materialize, reported, slurm
from tests.environments.test_pixi import pixi, stand_in

__all__ = ["pixi", "slurm", "stand_in"]

Tell = Callable[[str], None]


def packed(site: Site, project: Path) -> PackedUv:
    return UvEnvironment(project=project, python=sys.executable).prepare(replace(site, archive=True))


@pytest.fixture
def archive(site: Site, warm: Path, project: Path, tell: Tell) -> Path:
    """A folder with an archive in it."""
    environment = packed(site, project)
    environment.ensure(tell)
    return Path(environment.place())


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The node's own folder."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


class Job:
    """A job that uses an archive on this node, as far as the file system goes."""

    def __init__(self, archive: Path, storage: Path) -> None:
        self.place = Path(node_local.place(str(archive), str(storage)))
        while True:
            self.descriptor = os.open(f"{self.place}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            if node_local.enter(str(archive), str(self.place), self.descriptor):
                break
            os.close(self.descriptor)

    def end(self) -> None:
        os.close(self.descriptor)
        node_local.leave(str(self.place))

    def version_of_six(self) -> str:
        command = [self.place / "bin" / "python", "-I", "-c", "import six; print(six.__version__)"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_it_is_one_file_and_works_where_it_is_unpacked(archive: Path, storage: Path) -> None:
    shared = [path for path in archive.rglob("*") if path.is_file()]
    assert len(shared) < 12
    assert not (archive / "bin").exists()
    job = Job(archive, storage)
    assert job.version_of_six() == "1.16.0"
    assert job.place.stat().st_mode & 0o077 == 0


def test_it_goes_with_the_last_job_of_the_node(archive: Path, storage: Path) -> None:
    one, other = Job(archive, storage), Job(archive, storage)
    assert one.place == other.place
    one.end()
    assert other.version_of_six() == "1.16.0"
    other.end()
    assert list(storage.iterdir()) == []


def test_many_jobs_at_once_unpack_once(archive: Path, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[str] = []
    real = node_local.unpack

    def counted(*arguments: Any) -> None:
        unpacked.append("once")
        time.sleep(0.3)
        real(*arguments)

    monkeypatch.setattr(node_local, "unpack", counted)
    jobs: list[Job] = []
    threads = [threading.Thread(target=lambda: jobs.append(Job(archive, storage))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unpacked == ["once"]
    assert {job.version_of_six() for job in jobs} == {"1.16.0"}
    for job in jobs:
        job.end()
    assert list(storage.iterdir()) == []


def test_one_that_was_killed_in_the_middle_is_unpacked_anew(archive: Path, storage: Path) -> None:
    place = Path(node_local.place(str(archive), str(storage)))
    write(place / "bin" / "half", "")  # nobody holds the lock of what lies here, and there is no mark
    assert Job(archive, storage).version_of_six() == "1.16.0"
    assert not (place / "bin" / "half").exists()


def test_what_the_node_tidied_away_is_unpacked_anew(archive: Path, storage: Path) -> None:
    job = Job(archive, storage)
    next(job.place.glob("lib/python3*/site-packages/six.py")).unlink()
    os.close(job.descriptor)
    assert Job(archive, storage).version_of_six() == "1.16.0"


def test_what_a_killed_job_left_is_removed_by_the_next(archive: Path, storage: Path) -> None:
    root = Path(node_local.place(str(archive), str(storage))).parent
    write(root / "0123abcd" / "bin" / "python", "")
    write(root / "0123abcd.lock", "")
    write(root / "4567cdef" / "bin" / "python", "")
    with (root / "4567cdef.lock").open("w") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        Job(archive, storage)
        assert {path.name for path in root.iterdir()} == {
            "4567cdef",
            "4567cdef.lock",
            archive.name,
            f"{archive.name}.lock",
        }


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_archive_is_noticed(archive: Path, storage: Path, damage: str) -> None:
    file = archive / "environment.tar"
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        middle = len(content) // 2
        file.write_bytes(content[:middle] if damage == "truncated" else content[:middle] + b"?" + content[middle + 1 :])
    with pytest.raises(unpacking.Damaged, match=r"environment\.tar"):
        Job(archive, storage)
    assert not Path(node_local.place(str(archive), str(storage))).exists()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o700
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("/tmp/dagster-slurm-evil")],
        [member("a", tarfile.DIRTYPE), member("a/../../evil")],
        [member("way", tarfile.SYMTYPE, ".."), member("way/evil")],
        [member("evil", tarfile.LNKTYPE, "../outside")],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("same", tarfile.SYMTYPE, "../evil"), member("same")],
    ],
)
def test_members_cannot_escape(archive: Path, storage: Path, members: list[tarfile.TarInfo]) -> None:
    file = archive / "environment.tar"
    with tarfile.open(file, "w") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"evil") if info.size else None)
    facts = json.loads((archive / "archive.json").read_text())
    facts["sha256"] = subprocess.run(["sha256sum", file], check=True, capture_output=True, text=True).stdout.split()[0]
    (archive / "archive.json").write_text(json.dumps(facts))
    with pytest.raises(unpacking.Impossible):
        Job(archive, storage)
    root = next(storage.iterdir())
    assert {path.name for path in root.iterdir()} <= {f"{archive.name}.lock"}
    assert not Path("/tmp/dagster-slurm-evil").exists()


def test_where_it_goes(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_SCRATCH", str(tmp_path))
    assert node_local.place(str(archive), "$LOCAL_SCRATCH").startswith(str(tmp_path))
    with pytest.raises(unpacking.Impossible, match="no storage of this node will do: /nowhere is no folder"):
        node_local.place(str(archive), "/nowhere")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / f"dagster-slurm-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(unpacking.Impossible, match="not ours alone"):
        node_local.place(str(archive), str(tmp_path / "shared"))
    facts = json.loads((archive / "archive.json").read_text())
    (archive / "archive.json").write_text(json.dumps({**facts, "bytes": 10**15}))
    with pytest.raises(unpacking.Impossible, match="MB left"):
        node_local.place(str(archive), str(tmp_path))


# --- in assets


def compute(slurm: SlurmResource, storage: str | None = None, **more: Any) -> ComputeResource:
    options = {"env_format": "archive", "env_node_storage": storage, **more}
    again = SlurmResource(ssh=slurm.ssh, queue=slurm.queue, remote_base=slurm.remote_base, **options)
    return ComputeResource(mode="slurm", slurm=again)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_on_a_cluster(tmp_path: Path, project: Path, slurm: SlurmResource) -> None:
    environment = UvEnvironment(project=project)
    packed = compute(slurm)
    found = reported(materialize(packed, tmp_path, environment=environment))
    assert found["six"] == "1.16.0"
    place = Path(found["python"]).parents[1]
    assert place.parent.name.startswith("dagster-slurm-")
    assert not place.exists()  # the job was the last that used it
    shared = slurm_folder(packed, place.name)
    (shared / "environment.tar").write_bytes(b"torn")
    assert "truncated or changed" in failure(materialize(packed, tmp_path, environment=environment))
    assert reported(materialize(packed, tmp_path, environment=environment))["six"] == "1.16.0"


def slurm_folder(resource: ComputeResource, key: str) -> Path:
    """The shared folder of an environment, as root sees it."""
    assert resource.slurm is not None
    base = resource.target().place().base
    return Path(base) / "envs" / "built" / key


RANKS = """
import os, sys, six
print("rank", os.environ["RANK"], "on", os.environ["SLURMD_NODENAME"], six.__version__, sys.executable)
"""


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_on_all_nodes_of_a_job(
    tmp_path: Path, project: Path, slurm: SlurmResource, capfd: pytest.CaptureFixture[str]
) -> None:
    payload = write(tmp_path / "payload" / "ranks.py", RANKS)

    @dg.asset
    def ranks(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(
            context=context,
            payload_path=payload,
            launcher=BashLauncher(tasks_per_node=1),
            resources=Resources(nodes=2),
            environment=UvEnvironment(project=project),
        )

    result = dg.materialize([ranks], resources={"compute": compute(slurm)}, raise_on_error=False)
    assert result.success, failure(result)
    said = capfd.readouterr().out
    assert "rank 0 on" in said
    assert "rank 1 on" in said
    assert said.count("1.16.0") == 2
    key = said.split("/bin/python")[0].rsplit("/", 1)[-1]
    assert not list(Path("/tmp").glob(f"dagster-slurm-*/{key}"))


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_a_node_without_room_says_so(tmp_path: Path, project: Path, slurm: SlurmResource, cluster: Cluster) -> None:
    text = failure(materialize(compute(slurm, "/proc"), tmp_path, environment=UvEnvironment(project=project)))
    assert "the environment cannot be unpacked: no storage of this node will do: /proc" in text


def test_pixi_as_an_archive(site: Site, pixi: Path, stand_in: Callable[..., None], tell: Tell, storage: Path) -> None:
    stand_in()
    environment = PixiEnvironment(project=pixi, platform="linux-64").prepare(replace(site, archive=True))
    environment.ensure(tell)
    assert sorted(path.name for path in Path(environment.place()).iterdir()) == [
        ".dagster-slurm", "archive.json", "environment.sh", "programs",
    ]  # fmt: skip
    job = Job(Path(environment.place()), storage)
    assert str(job.place) in (job.place / "activate.sh").read_text()
    assert (job.place / "env" / "share" / "packed").read_text().strip() == "default linux-64"
