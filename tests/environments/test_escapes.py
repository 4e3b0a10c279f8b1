"""Packages with members that lead out of their environment: refused with a sentence that names them."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rattler import package_streaming

from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.lock_file import Locked
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import EnvironmentNotBuilt

NAME = "evil-1.0-py3-none-any.whl"
INFO = "evil-1.0.dist-info"
#: of a member: name, content, whether it is a link
Member = tuple[str, str, bool]


def wheel(folder: Path, *members: Member) -> Locked:
    """Write a wheel with these members besides its own."""
    own = {
        "evil/__init__.py": "",
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    listed = [*own, *(name for name, _, _ in members), f"{INFO}/RECORD"]
    own[f"{INFO}/RECORD"] = "".join(f"{name},,\n" for name in listed)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        for name, text in own.items():
            archive.writestr(name, text)
        for name, text, link in members:
            member = zipfile.ZipInfo(name)
            member.create_system = 3
            member.external_attr = ((stat.S_IFLNK | 0o777) if link else (stat.S_IFREG | 0o644)) << 16
            archive.writestr(member, text)
    content = (folder / NAME).read_bytes()
    return Locked("evil", "1.0", "wheel", str(folder / NAME), NAME, hashlib.sha256(content).hexdigest(), len(content))


def with_wheel(site: Site, project: Path, evil: Locked) -> PackedUv:
    made = UvEnvironment(project=project, python=sys.executable).prepare(site)
    return replace(made, packages=(*made.packages, evil))


def slow(members: Sequence[Member], said: str) -> object:
    return pytest.param(members, said, marks=pytest.mark.slow)


def escaped(folder: Path) -> list[Path]:
    return list(folder.rglob("escaped*"))


@pytest.mark.parametrize("archive", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../../../../escaped.py", "", False)], "'../../../../escaped.py' leads to a folder above"),
        ([("{outside}/escaped.py", "", False)], "escaped.py' is an absolute path"),
        ([("evil/link", "{outside}", True), ("evil/link/escaped.py", "", False)], "'evil/link' is a link to {outside}"),
        slow([("evil/link", "../../../secret", True)], "'evil/link' is a link to ../../../secret"),
        slow([("evil-1.0.data/scripts/../../../escaped", "", False)], "leads to a folder above"),
        slow([("evil\\..\\..\\escaped.py", "", False)], "leads to a folder above"),
    ],
)
def test_a_wheel_is_refused(
    *,
    site: Site,
    warm: Path,
    project: Path,
    tell: Callable[[str], None],
    tmp_path: Path,
    members: Sequence[Member],
    said: str,
    archive: bool,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    filled = [(name.replace("{outside}", str(outside)), text.replace("{outside}", str(outside)), link)
              for name, text, link in members]  # fmt: skip
    environment = with_wheel(replace(site, archive=archive), project, wheel(tmp_path, *filled))
    with pytest.raises(EnvironmentNotBuilt) as caught:
        environment.ensure(tell)
    assert f"the wheel {NAME} is refused, since its member " in str(caught.value)
    assert said.replace("{outside}", str(outside)) in str(caught.value)
    assert not escaped(tmp_path)
    assert not Path(environment.place()).exists()


@pytest.mark.slow
def test_a_link_within_is_not(
    site: Site, warm: Path, project: Path, tell: Callable[[str], None], tmp_path: Path
) -> None:
    environment = with_wheel(site, project, wheel(tmp_path, ("evil/sub/link", "../__init__.py", True)))
    environment.ensure(tell)
    assert (Path(environment.place()) / ".dagster-slurm" / "ready").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("../../escaped", "")],
        [("{outside}/escaped", "")],
        [("link", "{outside}"), ("link/escaped", "")],
        [("link", "../../outside"), ("link/escaped", "")],
    ],
)
def test_conda_packages_stay_inside_where_pixi_unpacks_them(tmp_path: Path, members: Sequence[tuple[str, str]]) -> None:
    """Not ours to refuse: pixi-unpack unpacks with this library, which drops such members or fails."""
    outside, into = tmp_path / "outside", tmp_path / "into" / "folder"
    outside.mkdir()
    into.mkdir(parents=True)
    index = {"name": "evil", "version": "1", "build": "0", "build_number": 0, "depends": [], "subdir": "noarch"}
    package = tmp_path / "evil-1-0.tar.bz2"
    with tarfile.open(package, "w:bz2") as tar:
        for name, text in [
            ("info/index.json", json.dumps(index)),
            ("info/paths.json", '{"paths_version":1,"paths":[]}'),
        ]:
            add(tar, name, text)
        for name, text in members:
            add(tar, name.replace("{outside}", str(outside)), text.replace("{outside}", str(outside)))
    try:
        package_streaming.extract(package, into)
    except OSError as error:
        assert "outside of destination path" in str(error)  # noqa: PT017 - either way nothing gets out
    assert not [path for path in escaped(tmp_path) if into not in path.parents]


def add(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    if name == "link":
        member.type, member.linkname = tarfile.SYMTYPE, text
        tar.addfile(member)
    else:
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
