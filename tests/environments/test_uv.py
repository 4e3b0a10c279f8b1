"""uv environments beside us: by the lock alone, only what is missing, whole or not at all, one build for many."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_slurm.engine.host import Host
from dagster_slurm.environments import kept, uv_program
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError, EnvironmentNotBuilt, EnvironmentUnavailable
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.transport.local import LocalTransport
from tests.environments.conftest import Told, uv, write

Tell = Callable[[str], None]


def prepare(site: Site, project: Path, **options: object) -> PackedUv:
    options = {"python": sys.executable, **options}
    return UvEnvironment(project=project, **options).prepare(site)  # pyright: ignore[reportArgumentType]


def ask(environment: PackedUv, code: str) -> str:
    python = environment.activation().python
    return subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def inode(path: str) -> int:
    return Path(path).stat().st_ino


def names_in(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir()) if folder.exists() else []


def installed(environment: PackedUv) -> set[str]:
    names = "import importlib.metadata as m; print(*sorted(d.metadata['Name'].lower() for d in m.distributions()))"
    return set(ask(environment, names).split())


def test_the_lock_decides(site: Site, project: Path, told: Told, tell: Tell) -> None:
    environment = prepare(site, project)
    environment.ensure(tell)
    assert installed(environment) == {"mine", "helperlib", "six", "markupsafe"}
    code = "import mine, helperlib, six, markupsafe._speedups; print(mine.ANSWER, helperlib.WORD, six.__version__)"
    assert ask(environment, code) == "42 yes 1.16.0"
    assert told[0].startswith("Sending 5 of 5 packages")
    assert "was built in" in told[-1]
    about = json.loads((Path(environment.place()) / ".dagster-slurm" / "about.json").read_text())
    assert (about["packages"], about["key"]) == (4, environment.key())


def test_nothing_happens_a_second_time(site: Site, warm: Path, project: Path, told: Told, tell: Tell) -> None:
    prepare(site, project).ensure(tell)
    before = inode(prepare(site, project).place())
    told.clear()
    prepare(site, project).ensure(tell)
    assert told == []
    assert inode(prepare(site, project).place()) == before


def test_one_more_package_sends_that_package_only(site: Site, project: Path, told: Told, tell: Tell) -> None:
    small, more = prepare(site, project), prepare(site, project, groups=("more",))
    small.ensure(tell)
    told.clear()
    more.ensure(tell)
    assert told[0].startswith("Sending 1 of 6 packages (0.1 MB)")
    assert installed(more) - installed(small) == {"idna"}
    shared = "import six; print(six.__file__)"
    assert inode(ask(small, shared)) == inode(ask(more, shared))


def test_groups_extras_and_dev(site: Site, warm: Path, project: Path) -> None:
    names = {item.name for item in prepare(site, project, groups=("more",), dev=True).packages}
    assert names == {"mine", "helperlib", "six", "markupsafe", "idna", "iniconfig"}


def test_a_changed_package_of_our_own_is_another_environment(site: Site, warm: Path, project: Path, tell: Tell) -> None:
    before = prepare(site, project)
    write(project / "libs/helper/src/helperlib/__init__.py", "WORD = 'changed'\n")
    after = prepare(site, project)
    assert before.key() != after.key()
    after.ensure(tell)
    assert ask(after, "import helperlib; print(helperlib.WORD)") == "changed"
    write(project / "libs/helper/src/helperlib/__init__.py", "WORD = 'yes'\n")
    assert prepare(site, project).key() == before.key()


def test_the_key_is_of_the_content(site: Site, warm: Path, project: Path, tmp_path: Path, tell: Tell) -> None:
    elsewhere = replace(site, base=str(tmp_path / "other"))
    assert prepare(site, project).key() == prepare(elsewhere, project).key()
    prepare(site, project).ensure(tell)
    assert prepare(site, project, groups=("more",)).key() != prepare(site, project).key()


@pytest.mark.parametrize("name", ["requirements.txt", "pylock.toml"])
def test_requirements_and_common_locks(site: Site, warm: Path, project: Path, tell: Tell, name: str) -> None:
    if name == "pylock.toml":
        uv(project, "export", "--format", "pylock.toml", "--no-dev", "-o", name)
    else:
        write(project / name, "six==1.16.0\n./libs/helper\n")
    environment = prepare(site, project / name)
    environment.ensure(tell)
    assert ask(environment, "import helperlib, six; print(helperlib.WORD, six.__version__)") == "yes 1.16.0"


def test_a_package_of_source_only_is_built_here(site: Site, warm: Path, tmp_path: Path, tell: Tell) -> None:
    write(tmp_path / "requirements.txt", "docopt==0.6.2\n")
    environment = prepare(site, tmp_path / "requirements.txt")
    environment.ensure(tell)
    assert ask(environment, "import docopt; print(docopt.__version__)") == "0.6.2"


def test_a_missing_python_is_said_before_anything_is_sent(site: Site, project: Path) -> None:
    with pytest.raises(EnvironmentUnavailable, match=r"has no Python 3\.4; nothing was sent"):
        prepare(site, project, python="3.4")
    assert names_in(Path(site.base) / "packages") == []


def test_a_python_by_its_path(site: Site, project: Path) -> None:
    assert prepare(site, project, python=sys.executable).python.version.startswith("3.")
    with pytest.raises(EnvironmentUnavailable, match="has no Python"):
        prepare(site, project, python="/nowhere/python3")


def test_the_prelude_comes_first(site: Site, project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "module" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").symlink_to(sys.executable)
    loaded = replace(site, prelude=(f"export PATH={folder}:$PATH",))
    assert prepare(loaded, project, python="python3").python.path == str(folder / "python3")
    with pytest.raises(EnvironmentUnavailable, match="the prelude fails") as caught:
        prepare(replace(site, prelude=("true", "module load nothing-of-that-name")), project)
    assert "nothing was sent" in str(caught.value)


def test_a_stale_lock(site: Site, project: Path) -> None:
    text = (project / "pyproject.toml").read_text()
    write(project / "pyproject.toml", text.replace("six==1.16.0", "six==1.15.0"))
    with pytest.raises(ConfigurationError, match="does not fit pyproject") as caught:
        prepare(site, project)
    assert "uv lock" in str(caught.value)


def test_no_lock_says_where_it_looked(site: Site) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no uv\.lock"):
        UvEnvironment(project="nowhere").prepare(site)


def test_no_uv(site: Site, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(project / "uv.lock", (project / "uv.lock").read_text() + "\n# not seen before\n")
    site.agent.request("packages", base=site.base, wanted=[])
    uv_program._program.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="there is no uv on PATH"):
        prepare(site, project)
    uv_program._program.cache_clear()


# --- damage and interruption


def test_a_hole_is_repaired_by_force(site: Site, warm: Path, project: Path, tell: Tell) -> None:
    environment = prepare(site, project)
    environment.ensure(tell)
    six = Path(ask(environment, "import six; print(six.__file__)"))
    six.unlink()
    environment.ensure(tell, force=True)
    assert ask(environment, "import six; print(six.__version__)") == "1.16.0"


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_package_on_the_cluster_is_sent_again(
    site: Site, project: Path, told: Told, tell: Tell, damage: str
) -> None:
    environment = prepare(site, project)
    environment.ensure(tell)
    sha = next(item.sha256 for item in environment.packages if item.name == "six")
    package = Path(site.base) / "packages" / sha
    content = package.read_bytes()
    package.unlink()
    if damage != "gone":
        package.write_bytes(content[:-10] if damage == "truncated" else b"0" * len(content))
    cache = Path(site.base) / "cache"
    cache.rename(cache.with_name("cache-old"))
    told.clear()
    environment.ensure(tell, force=True)
    assert any(line.startswith("Sending 1 of 5 packages") for line in told)
    assert package.read_bytes() == content
    assert ask(environment, "import six; print(six.__version__)") == "1.16.0"


def test_a_build_that_fails_leaves_nothing(site: Site, warm: Path, project: Path, tell: Tell, tmp_path: Path) -> None:
    environment = prepare(site, project)
    broken = replace(environment, python=replace(environment.python, path=str(tmp_path / "no-python")))
    with pytest.raises(EnvironmentNotBuilt, match="cannot be built on") as caught:
        broken.ensure(tell)
    assert "uv" in str(caught.value.command)
    assert names_in(Path(site.base) / "built") == []


def test_a_full_disk_is_said_and_leaves_nothing(site: Site, project: Path, tell: Tell, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        environment = prepare(replace(site, base=str(small / "envs")), project)
        with pytest.raises(DagsterSlurmError, match="No space left") as caught:
            environment.ensure(tell)
        assert str(small) in str(caught.value)
        assert names_in(small / "envs" / "built") == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_what_another_version_kept_is_not_read(site: Site, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(site, project)
    for file in kept.folder().glob("selected/*.json"):
        file.write_text('{"key": "?", "value": "nonsense"}')
    assert prepare(site, project).packages


def ensure_in_a_process(base: str, project: str, results: multiprocessing.Queue[list[str]]) -> None:
    host, told = Host(LocalTransport(), Direct()), list[str]()
    environment = UvEnvironment(project=project, python=sys.executable).prepare(Site(agent=host, base=base))
    environment.ensure(told.append)
    host.close()
    results.put(told)


def test_three_processes_build_once(site: Site, project: Path) -> None:
    prepare(site, project)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    arguments = (site.base, str(project), results)
    processes = [spawn.Process(target=ensure_in_a_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    told = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sum("was built in" in line for lines in told for line in lines) == 1
    assert sum(line.startswith("Sending") for lines in told for line in lines) == 1


def test_killed_in_the_middle_the_next_one_repairs(site: Site, project: Path, tell: Tell) -> None:
    spawn = multiprocessing.get_context("spawn")
    environment = prepare(site, project)
    for pause in (0.35, 0.7):
        process = spawn.Process(target=ensure_in_a_process, args=(site.base, str(project), spawn.Queue()))
        process.start()
        process.join(pause)
        process.kill()
        process.join()
    for lock in (kept.folder() / "locks").glob("*"):
        os.utime(lock, (0, 0))  # as two minutes later
    building = Path(site.base) / "built" / ".building"
    if building.exists():
        os.utime(building, (0, 0))
    environment.ensure(tell)
    assert ask(environment, "import six; print(six.__version__)") == "1.16.0"


def test_a_read_only_file_system_is_said(site: Site, warm: Path, project: Path, told: Told, tell: Tell) -> None:
    prepare(site, project).ensure(tell)
    bound = ["mount", "--bind", site.base, site.base]
    if subprocess.run(bound, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", site.base], check=True)
        told.clear()
        prepare(site, project).ensure(tell)  # it serves all the same
        assert told == []
        with pytest.raises(DagsterSlurmError, match="Read-only file system") as caught:
            prepare(site, project, groups=["more"]).ensure(tell)
    finally:
        subprocess.run(["umount", "-l", site.base], check=True)
    assert site.base in str(caught.value)
    assert "env_base" in str(caught.value)
