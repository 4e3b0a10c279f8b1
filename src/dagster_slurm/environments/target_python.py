"""The Python on the target: which of those that are there, what it can install, and what markers mean for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms

from dagster_slurm.errors import EnvironmentUnavailable

#: minor versions to look for, the newest first
_MINORS = range(15, 7, -1)
#: the names that older wheels have for manylinux_2_17, 2_12 and 2_5
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True)
class TargetPython:
    """A Python on the target, as it describes itself.

    Args:
        path: absolute.
        version: ``3.11.2``.
        facts: the rest: ``machine``, ``libc``, ``system``, and so on (see :mod:`dagster_slurm.remote.pythons`).
    """

    path: str
    version: str
    facts: Mapping[str, Any]

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def minor(self) -> str:
        """``3.11``."""
        return "{}.{}".format(*self.numbers)

    @property
    def machine(self) -> str:
        """``x86_64``, ``aarch64``, ..."""
        return str(self.facts["machine"])

    def __str__(self) -> str:
        """For people: what decides which wheels fit."""
        libc = str(self.facts.get("libc") or "")
        return f"Python {self.version}, {self.facts['system']} {self.machine}{f', {libc}' if libc else ''}"


def from_answer(rows: Sequence[Mapping[str, Any]]) -> list[TargetPython]:
    """Return the Pythons that the agent found."""
    return [TargetPython(str(row["path"]), str(row["version"]), dict(row)) for row in rows]


def names(wanted: str | None, usual: str) -> list[str]:
    """Return the names under which to look for a Python.

    Args:
        wanted: ``3.11``, ``python3.11`` or a path; None: any.
        usual: the one that is used where nothing else says.
    """
    if wanted is not None and not wanted[:1].isdigit():
        return [wanted]
    if wanted is not None:
        minor = ".".join(wanted.split(".")[:2])
        return [f"python{minor}", usual, "python3", "python"]
    return list(dict.fromkeys([usual, "python3", *(f"python3.{minor}" for minor in _MINORS)]))


def choose(found: Sequence[TargetPython], *, wanted: str | None, requires: str, like: str, where: str) -> TargetPython:
    """Return the Python to use.

    Args:
        found: those that are there, the one that is used where nothing else says first.
        wanted: what the user asked for: a version, a name or a path.
        requires: the project's ``requires-python``.
        like: the version here, ``3.11``: what runs here is to run there.
        where: the host's name.

    Raises:
        EnvironmentUnavailable: none fits; says which are there.
    """
    allowed = SpecifierSet(requires)
    fitting = [python for python in found if allowed.contains(python.version, prereleases=True)]
    if wanted is not None and wanted[:1].isdigit():
        fitting = [python for python in fitting if _is_version(python.version, wanted)]
    same = [python for python in fitting if python.minor == like]
    if fitting:
        return (same if same and wanted is None else fitting)[0]
    need = f"Python {wanted}" if wanted else "a Python"
    if requires and any(_is_version(python.version, wanted or "") for python in found):
        need += f" that the project allows (requires-python {requires!r})"
    there = ", ".join(dict.fromkeys(f"{python.version} ({python.path})" for python in found)) or "none"
    raise EnvironmentUnavailable(
        f"{where} has no {need.removeprefix('a ')}; nothing was sent",
        details={"there": there},
        hint='Load one in prelude ("module load python/3.11"), or name another: UvEnvironment(python=...).',
    )


def _is_version(version: str, wanted: str) -> bool:
    parts = wanted.split(".") if wanted else []
    return version.split(".")[: len(parts)] == parts


def tags(python: TargetPython) -> list[Tag]:
    """Return what it can install, the best first."""
    platforms = list(_platforms(python.facts))
    interpreter = "cp{}{}".format(*python.numbers)
    abis = [interpreter + ("t" if python.facts.get("threaded") else "")]
    return [*cpython_tags(python.numbers, abis, platforms), *compatible_tags(python.numbers, interpreter, platforms)]


def _platforms(facts: Mapping[str, Any]) -> Iterator[str]:
    machine = str(facts["machine"])
    if facts["system"] == "Darwin":
        major, minor = (*str(facts["mac"]).split("."), "0")[:2]
        yield from mac_platforms((int(major), int(minor)), machine)
        return
    libc = str(facts.get("libc") or "")
    if libc.startswith("glibc 2."):
        oldest = 5 if machine in ("x86_64", "i686") else 17
        for minor in range(int(libc.split(".")[1]), oldest - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{machine}"
    else:
        yield from (f"musllinux_1_{minor}_{machine}" for minor in (2, 1, 0))
    yield f"linux_{machine}"


def markers(python: TargetPython) -> dict[str, str]:
    """Return what environment markers (PEP 508) mean there."""
    facts = python.facts
    return {
        "python_version": python.minor,
        "python_full_version": python.version,
        "implementation_name": str(facts["implementation"]).lower(),
        "implementation_version": python.version,
        "platform_python_implementation": str(facts["implementation"]),
        "platform_machine": python.machine,
        "platform_release": str(facts["release"]),
        "platform_system": str(facts["system"]),
        "platform_version": str(facts["build"]),
        "os_name": str(facts["os"]),
        "sys_platform": str(facts["platform"]),
        "extra": "",
    }
