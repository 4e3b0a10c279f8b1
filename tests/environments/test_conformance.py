"""What holds for every kind of environment that we build: uv and pixi, as folders and as archives."""

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm import ComputeResource
from dagster_slurm.engine.host import Host
from dagster_slurm.environments import kept
from dagster_slurm.environments.environment import Environment, Site
from dagster_slurm.environments.pixi import PackedPixi, PixiEnvironment
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.transport.local import LocalTransport
from tests.environments.conda import channel
from tests.environments.conftest import Told, write
from tests.environments.test_in_assets import failure, materialize, reported, slurm

__all__ = ["slurm"]

Tell = Callable[[str], None]
Packed = PackedUv | PackedPixi
BEGUN = ["begun"]
STAND_IN = Path(__file__).parent / "conda"


@dataclass(frozen=True)
class Kind:
    """A kind of environment.

    Args:
        project: the folder with the lock.
        site: where it goes.
        pixi: whether pixi-pack makes it; else uv.
    """

    project: Path
    site: Site
    pixi: bool

    def named(self, *, more: bool = False) -> Environment:
        if self.pixi:
            return PixiEnvironment(project=self.project, name="more" if more else "default", platform="linux-64")
        return UvEnvironment(project=self.project, python=sys.executable, groups=("more",) if more else ())

    def prepared(self, *, more: bool = False) -> Packed:
        made = self.named(more=more).prepare(self.site)
        assert isinstance(made, Packed)
        return made

    def activated(self, environment: Packed, run_dir: Path) -> str:
        """What a job says that activates it and looks around."""
        run_dir.mkdir(exist_ok=True)
        activation = environment.activation()
        head = f"""
            _ds_run_dir={run_dir} _ds_node=here _ds_restart=0
            _ds_give_up() {{ echo "gave up: $3"; exit "$1"; }}
        """
        look = 'echo "$DEMO_ACTIVATED"; cat "$DEMO_SHARE/hello.txt" | head -n 1' if self.pixi else ""
        python = f'{activation.python} -c "import six; print(six.__version__)"'
        lines = [head, *activation.lines, look if self.pixi else python, "exec 7>&-", *activation.after]
        done = subprocess.run(
            ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False, cwd=run_dir
        )
        return done.stdout.strip()

    @property
    def works(self) -> str:
        return "yes\nhello" if self.pixi else "1.16.0"


def install_pixi_pack(folder: Path, version: str, *, unpack: bool) -> None:
    """Put the stand-ins on a folder of PATH."""
    script = f'#!/bin/sh\nSTAND_IN_VERSION={version} exec {sys.executable} {STAND_IN}/pixi_pack.py "$@"\n'
    write(folder / "pixi-pack", script).chmod(0o755)
    if unpack:
        text = (STAND_IN / "pixi_unpack.py").read_text()
        write(folder / "pixi-unpack", f"#!/usr/bin/env python3\n{text}").chmod(0o755)


@pytest.fixture(scope="session")
def conda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pixi project whose packages lie in a channel beside it."""
    folder = tmp_path_factory.mktemp("conda")
    channel.demo(folder / "channel")
    wanted = {"default": ["world"], "more": ["world", "more"]}
    channel.lock(folder / "channel", folder / "project", wanted)
    return folder / "project"


KINDS = ["uv", "uv archive", "pixi 0.6.5", "pixi 0.7.5", "pixi 0.7.6", "pixi 0.7.6 archive"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    name, *rest = request.param.split()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    site = replace(site, archive="archive" in rest, storage=str(tmp_path))
    if name == "uv":
        request.getfixturevalue("warm")
        return Kind(request.getfixturevalue("project"), site, pixi=False)
    # each kind begins with nothing kept of another
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    install_pixi_pack(tmp_path / "tools", rest[0], unpack=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    return Kind(request.getfixturevalue("conda"), site, pixi=True)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".dagster-slurm" not in path.parts and not path.is_dir()]


def test_it_works_and_a_second_time_nothing_happens(kind: Kind, told: Told, tell: Tell, tmp_path: Path) -> None:
    environment = kind.prepared()
    environment.ensure(tell)
    assert "was built in" in told[-1]
    assert kind.activated(environment, tmp_path / "run") == kind.works
    told.clear()
    again = kind.prepared()
    assert again.key() == environment.key()
    again.ensure(tell)
    assert told == []


def test_an_archive_is_few_files_and_leaves_none_on_the_node(kind: Kind, tell: Tell, tmp_path: Path) -> None:
    environment = kind.prepared()
    environment.ensure(tell)
    few = [path for path in files(Path(environment.place())) if "programs" not in path.parts]
    assert (len(few) <= 2) == kind.site.archive
    kind.activated(environment, tmp_path / "run")
    assert not list(tmp_path.glob(f"dagster-slurm-{os.getuid()}/*"))


def test_one_more_package(kind: Kind, told: Told, tell: Tell) -> None:
    kind.prepared().ensure(tell)
    told.clear()
    if not kind.pixi:
        forget(kind, "idna")
    kind.prepared(more=True).ensure(tell)
    sent = next(line for line in told if line.startswith("Sending"))
    if not kind.pixi:
        assert sent.startswith("Sending 1 of ")
    elif apart(kind):  # the package, and the index that names it
        assert sent.startswith("Sending 2 of ")
    else:
        assert sent.startswith("Sending 1 of 1 ")


def forget(kind: Kind, name: str) -> None:
    """Take a package of uv from the cluster."""
    environment = kind.prepared(more=True)
    assert isinstance(environment, PackedUv)
    (package,) = (item.sha256 for item in environment.packages if item.name == name)
    (Path(kind.site.base) / "packages" / package).unlink()


def tools(kind: Kind) -> list[Path]:
    return list((Path(kind.site.base) / "tools").glob("*"))


def apart(kind: Kind) -> bool:
    """Whether packages travelled one by one."""
    return any(path.name.startswith("pixi-unpack") for path in tools(kind))


def test_packages_travel_apart_where_they_can(kind: Kind, tell: Tell, request: pytest.FixtureRequest) -> None:
    kind.prepared().ensure(tell)
    assert apart(kind) == ("kind-pixi 0.7.6]" in f"kind-{request.node.callspec.id}]")


def test_a_purged_file_is_noticed_by_the_job_and_the_next_run_mends_it(kind: Kind, tell: Tell, tmp_path: Path) -> None:
    environment = kind.prepared()
    environment.ensure(tell)
    purged = sorted(file for file in files(Path(environment.place())) if "programs" not in file.parts)[-1]
    purged.unlink()
    said = kind.activated(environment, tmp_path / "run")
    assert said.startswith("gave up: ")
    assert purged.name in said
    kind.prepared().ensure(tell)
    assert kind.activated(environment, tmp_path / "run") == kind.works


def test_purged_marks_are_noticed(kind: Kind, tell: Tell, tmp_path: Path) -> None:
    environment = kind.prepared()
    environment.ensure(tell)
    (Path(environment.place()) / ".dagster-slurm" / "ready").unlink()
    assert kind.activated(environment, tmp_path / "run").startswith("gave up: ")


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_package_that_was_damaged_on_the_cluster_is_sent_again(
    kind: Kind, told: Told, tell: Tell, tmp_path: Path, damage: str
) -> None:
    environment = kind.prepared()
    environment.ensure(tell)
    folder = Path(kind.site.base) / "packages"
    if isinstance(environment, PackedUv):
        package = folder / next(item.sha256 for item in environment.packages if item.name == "six")
    else:
        package = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    content = package.read_bytes()
    package.unlink()
    package.write_bytes(content[:-10] if damage == "truncated" else b"\0" * len(content))
    for left in ("cache", "tools"):
        folder = Path(kind.site.base) / left
        if folder.exists():
            folder.rename(tmp_path / f"old-{left}")
    told.clear()
    environment.ensure(tell, force=True)
    assert any(line.startswith("Sending 1 of") for line in told)
    # a file that unpacks itself is made anew, and may differ
    assert package.read_bytes() == content or (kind.pixi and not apart(kind))
    assert kind.activated(environment, tmp_path / "run") == kind.works


def test_a_full_disk_is_said_and_leaves_nothing(kind: Kind, tell: Tell, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        environment = replace(kind, site=replace(kind.site, base=str(small / "envs"))).prepared()
        with pytest.raises(DagsterSlurmError, match="No space left") as caught:
            environment.ensure(tell)
        assert str(small) in str(caught.value)
        built = small / "envs" / "built"
        assert not built.exists() or not [name for name in built.iterdir() if not name.name.startswith(".")]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def ensure_in_a_process(named: Environment, site: Site, results: Any) -> None:
    host, told = Host(LocalTransport(), Direct()), list[str]()
    made = named.prepare(replace(site, agent=host))
    results.put(BEGUN)
    assert isinstance(made, Packed)
    made.ensure(told.append)
    host.close()
    results.put(told)


def started(kind: Kind, results: Any) -> Any:
    arguments = (kind.named(), replace(kind.site, agent=None), results)  # pyright: ignore[reportArgumentType]
    process = multiprocessing.get_context("spawn").Process(target=ensure_in_a_process, args=arguments)
    process.start()
    return process


def test_two_at_once_build_once(kind: Kind) -> None:
    kind.prepared()
    results = multiprocessing.get_context("spawn").Queue()
    processes = [started(kind, results) for _ in range(2)]
    told = [line for _ in range(2 * len(processes)) for line in results.get(timeout=90)]
    for process in processes:
        process.join()
    assert sum("was built in" in line for line in told) == 1


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_killed_at_any_point_the_next_one_repairs(kind: Kind, tell: Tell, tmp_path: Path, pause: float) -> None:
    results = multiprocessing.get_context("spawn").Queue()
    process = started(kind, results)
    assert results.get(timeout=90) == BEGUN
    process.join(pause)
    process.kill()
    process.join()
    time.sleep(0.3)  # its agent notices
    for lock in [*(kept.folder() / "locks").glob("*"), Path(kind.site.base) / "built" / ".building"]:
        if lock.exists():
            os.utime(lock, (0, 0))  # as two minutes later
    environment = kind.prepared()
    environment.ensure(tell)
    assert kind.activated(environment, tmp_path / "run") == kind.works
    left = [path.name for path in (Path(kind.site.base) / "built").iterdir() if not path.name.startswith(".")]
    assert left == [environment.key()]


def test_caches_of_another_version_are_not_trusted(kind: Kind, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = kind.prepared()
    environment.ensure(tell)
    for file in kept.folder().rglob("*.json"):
        file.write_text(json.dumps({"key": "another", "value": {"location": "/etc/passwd", "sha256": "0"}}))
    before = environment.key()
    assert kind.prepared().key() == before
    kind.prepared().ensure(tell, force=True)
    monkeypatch.setattr(sys.modules[type(environment).__module__], "FORMAT", 999)
    assert kind.prepared().key() != before


# --- pixi's own


@pytest.fixture
def tools_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tools"
    install_pixi_pack(folder, "0.7.6", unpack=True)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_a_lock_that_pixi_calls_stale(site: Site, conda: Path, tools_on_path: Path, tell: Tell, tmp_path: Path) -> None:
    said = 'echo "lock-file not up-to-date with the workspace" >&2; exit 1'
    write(
        tools_on_path / "pixi",
        f'#!/bin/sh\n[ "$*" = "lock --check --manifest-path {conda}/pixi.toml" ] || exit 0\n{said}\n',
    )
    (tools_on_path / "pixi").chmod(0o755)
    write(conda / "a" / "fresh", "")
    environment = PixiEnvironment(project=conda, platform="linux-64", cache_inject_globs=["a/*"]).prepare(site)
    with pytest.raises(ConfigurationError, match=r"pixi\.lock does not fit pixi\.toml any more") as caught:
        environment.ensure(tell)
    assert "Run `pixi lock`" in str(caught.value)
    write(tools_on_path / "pixi", '#!/bin/sh\necho "error: unexpected argument --check" >&2; exit 2\n')
    environment.ensure(tell)  # a pixi that does not know how to tell


def test_what_travels_is_checked_against_the_lock(
    site: Site, conda: Path, tools_on_path: Path, tell: Tell, tmp_path: Path
) -> None:
    text = (conda / "pixi.lock").read_text()
    world = next((conda.parent / "channel").rglob("world-*.tar.bz2"))
    sha = hashlib.sha256(world.read_bytes()).hexdigest()
    write(tmp_path / "copy" / "pixi.lock", text.replace(sha, "0" * 64))
    environment = PixiEnvironment(project=tmp_path / "copy", platform="linux-64").prepare(site)
    with pytest.raises(ConfigurationError, match="pixi-pack failed") as caught:
        environment.ensure(tell)
    assert "hash mismatch" in str(caught.value)


def test_a_pixi_table_without_a_lock(site: Site, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "pyproject.toml", '[tool.pixi.workspace]\nchannels = ["conda-forge"]\n')
    with pytest.raises(ConfigurationError, match=r"is a pixi project, but .*pixi\.lock is missing") as caught:
        PixiEnvironment(project=tmp_path / "mine").prepare(site)
    assert "Run `pixi lock` there (there is no pixi on PATH" in str(caught.value)


def test_the_unpacker_of_another_platform_is_named(site: Site, conda: Path, tools_on_path: Path, tell: Tell) -> None:
    (tools_on_path / "pixi-unpack").rename(tools_on_path / "elsewhere")
    environment = PixiEnvironment(project=conda, platform="linux-64", unpack=tools_on_path / "elsewhere")
    made = environment.prepare(site)
    made.ensure(tell)
    assert list((Path(site.base) / "tools").glob("pixi-unpack-*"))


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:.*dagster_run")  # Dagster's own, for nested resources
def test_on_a_cluster_from_the_lock_alone(tmp_path: Path, conda: Path, tools_on_path: Path, slurm: Any) -> None:
    compute = ComputeResource(mode="slurm", slurm=slurm, environment=PixiEnvironment(project=conda))
    found = reported(materialize(compute, tmp_path))
    assert found["python"] == "/usr/bin/python3"
    assert found["prefix"].endswith("/env")
    Path(found["prefix"], "share", "world.txt").unlink()
    assert "share/world.txt" in failure(materialize(compute, tmp_path))
    assert reported(materialize(compute, tmp_path))["prefix"] == found["prefix"]
