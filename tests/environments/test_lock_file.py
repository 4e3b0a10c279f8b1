"""What a target needs of a lock, and which Python it is."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_slurm.environments import target_python
from dagster_slurm.environments.lock_file import fits, select
from dagster_slurm.environments.target_python import TargetPython, choose
from dagster_slurm.errors import ConfigurationError, EnvironmentUnavailable


def python(version: str = "3.11.2", *, machine: str = "x86_64", libc: str = "glibc 2.28", **more: Any) -> TargetPython:
    facts = {
        "machine": machine,
        "libc": libc,
        "system": "Linux",
        "platform": "linux",
        "os": "posix",
        "release": "5.14",
        "build": "#1",
        "implementation": "CPython",
        "mac": "",
        "threaded": False,
        **more,
    }
    return TargetPython(f"/usr/bin/python{version}", version, facts)


def wheel(name: str, sha256: str = "a" * 64) -> dict[str, Any]:
    return {"url": f"https://index.example/some/{name}", "size": 7, "hashes": {"sha256": sha256}}


def lock(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"lock-version": "1.0", "packages": list(packages)}


def package(name: str, *wheels: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "wheels": [wheel(file) for file in wheels], **more}


LINUX = "p-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
NEWER = "p-1.0-cp311-cp311-manylinux_2_34_x86_64.whl"
ABI3 = "p-1.0-cp38-abi3-manylinux_2_28_x86_64.whl"
PURE = "p-1.0-py3-none-any.whl"
MUSL = "p-1.0-cp311-cp311-musllinux_1_2_x86_64.whl"
ARM = "p-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"
MAC = "p-1.0-cp311-cp311-macosx_11_0_arm64.whl"
ALL = (PURE, MAC, ARM, MUSL, NEWER, ABI3, LINUX)


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (python(), LINUX),
        (python(libc="glibc 2.34"), NEWER),
        (python("3.12.1"), ABI3),
        (python("3.12.1", libc="glibc 2.17"), PURE),
        (python(libc=""), MUSL),
        (python(machine="aarch64"), ARM),
        (python(machine="ppc64le"), PURE),
        (python(system="Darwin", machine="arm64", mac="14.1", libc=""), MAC),
    ],
)
def test_the_best_wheel_for_the_platform(target: TargetPython, chosen: str) -> None:
    assert [item.file for item in select(lock(package("p", *ALL)), target)] == [chosen]


def test_old_names_of_manylinux() -> None:
    assert fits("p-1.0-cp311-cp311-manylinux2014_x86_64.whl", python(libc="glibc 2.17"))
    assert fits("p-1.0-cp311-cp311-manylinux1_x86_64.whl", python(libc="glibc 2.17"))
    assert not fits("p-1.0-cp311-cp311-manylinux2014_x86_64.whl", python(libc="glibc 2.12"))


def test_markers_are_those_of_the_target() -> None:
    found = select(
        lock(
            package("old", PURE, marker="python_version < '3.9'"),
            package("mac", PURE, marker="sys_platform == 'darwin'"),
            package("arm", PURE, marker="platform_machine == 'aarch64'"),
            package("new", PURE, marker="python_full_version >= '3.11.2' and os_name == 'posix'"),
        ),
        python(),
    )
    assert [item.name for item in found] == ["new"]


def test_folders_and_sources() -> None:
    source = {"url": "https://index.example/s-1.0.tar.gz", "hashes": {"sha256": "b" * 64}}
    found = select(
        lock({"name": "own", "directory": {"path": "."}}, {"name": "s", "version": "1.0", "sdist": source}), python()
    )
    assert [(item.kind, item.location) for item in found] == [("folder", "."), ("source", source["url"])]


def test_no_wheel_says_which_there_are() -> None:
    with pytest.raises(EnvironmentUnavailable, match=r"p 1\.0 has no wheel for Python 3\.11\.2.*x86_64") as caught:
        select(lock(package("p", MAC, ARM)), python())
    assert MAC in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"lock-version": "2.0"}, "lock-version '2.0'"),
        (lock({"name": "p", "wheels": [{"url": f"https://x/{PURE}"}]}), "no SHA-256"),
        (lock({"name": "p", "vcs": {"type": "git", "url": "https://x/p.git"}}), "cannot travel"),
    ],
)
def test_locks_that_are_refused(broken: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        select(broken, python())


THERE = [python("3.9.18"), python("3.11.2"), python("3.12.1")]


@pytest.mark.parametrize(
    ("wanted", "requires", "like", "chosen"),
    [
        (None, "", "3.11", "3.11.2"),
        (None, "", "3.13", "3.9.18"),
        (None, ">=3.10", "3.13", "3.11.2"),
        ("3.12", ">=3.9", "3.11", "3.12.1"),
        ("3.12.1", "", "3.11", "3.12.1"),
    ],
)
def test_which_python(wanted: str | None, requires: str, like: str, chosen: str) -> None:
    assert choose(THERE, wanted=wanted, requires=requires, like=like, where="login").version == chosen


@pytest.mark.parametrize(
    ("wanted", "requires", "why"),
    [
        ("3.10", "", "login has no Python 3.10"),
        ("3.12.2", "", "login has no Python 3.12.2"),
        (None, ">=3.13", "login has no Python that the project allows"),
        ("3.9", ">=3.10", "login has no Python 3.9 that the project allows"),
    ],
)
def test_a_missing_python_is_named_with_those_that_are_there(wanted: str | None, requires: str, why: str) -> None:
    with pytest.raises(EnvironmentUnavailable, match=why) as caught:
        choose(THERE, wanted=wanted, requires=requires, like="3.11", where="login")
    assert "3.12.1 (/usr/bin/python3.12.1)" in str(caught.value)
    assert "prelude" in str(caught.value)


def test_under_which_names_pythons_are_looked_for() -> None:
    assert target_python.names("/opt/py/bin/python3", "python3") == ["/opt/py/bin/python3"]
    assert target_python.names("3.11", "python3")[:2] == ["python3.11", "python3"]
    assert target_python.names(None, "python3")[:2] == ["python3", "python3.15"]
