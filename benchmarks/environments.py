"""Environments: 24 wheels, 167 MB, to the cluster and built there, against `ssh cat` and uv alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import place
from benchmarks.figures import median, seconds
from benchmarks.table import Result
from dagster_slurm import SlurmQueueConfig, SlurmResource
from dagster_slurm.environments import fetching, uv_tool
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.resources import targets
from testcluster import Cluster

PACKAGES = ("pandas", "scipy", "scikit-learn", "matplotlib", "pyarrow", "requests")
ONE_MORE = "iniconfig"
#: a tenth of what a project has that shares the rest
OTHERS = ("statsmodels", "sympy")


@dataclass
class Told:
    """What was told while an environment was made."""

    lines: list[str] = field(default_factory=list[str])

    def number(self, pattern: str) -> float:
        found = re.search(pattern, "\n".join(self.lines))
        return float(found[1]) if found else 0.0

    @property
    def built(self) -> float:
        """Seconds that the build took."""
        return self.number(r"was built in ([\d.]+) s")

    @property
    def packages(self) -> int:
        """How many packages were sent."""
        return int(self.number(r"Sending (\d+) of"))

    @property
    def sent(self) -> float:
        """MB that were sent."""
        return self.number(r"; ([\d.]+) MB were sent")


def environments(cluster: Cluster, *, quick: bool) -> list[Result]:
    """First push, unchanged, one more package, a project that shares most."""
    queue = SlurmQueueConfig(partition="compute", mem=100)
    resource = SlurmResource(ssh=place.connection(cluster), queue=queue, remote_base="~/bench-environments")
    target = targets.cluster(resource)
    site = Site(agent=target.host, base=f"{target.place().base}/envs")
    first = _prepared(site, "first", *PACKAGES)
    for item in (*first.packages, uv_tool.for_target(first.python)):
        fetching.fetch(item, first.source.folder)  # what the network does is not measured
    more = _prepared(site, "more", *PACKAGES, ONE_MORE)
    other = _prepared(site, "other", *PACKAGES, *OTHERS)
    results = [_first(cluster, first, 1 if quick else 3), _unchanged(first, site)]
    return [*results, _one_more(more), _shared(first, other)]


def _prepared(site: Site, name: str, *packages: str) -> PackedUv:
    folder = place.FOLDER / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.txt"
    file.write_text("\n".join(packages) + "\n")
    return UvEnvironment(project=file).prepare(site)


def _megabytes(environment: PackedUv) -> float:
    return sum(item.size or 0 for item in environment.packages) / 1e6


def _raw(cluster: Cluster, environment: PackedUv, number: int) -> float:
    """Send the wheels by `ssh cat`, and build with uv by hand; uv lies there already."""
    ssh = ["ssh", "-F", str(cluster.ssh_config), cluster.ssh_alias]
    tool = uv_tool.for_target(environment.python)
    folder = place.FOLDER / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for item in environment.packages:
        shutil.copy(fetching.fetch(item, environment.source.folder), folder / item.file)
    pack = place.FOLDER / "wheels.tar"
    subprocess.run(["tar", "-cf", pack, "-C", folder, "."], check=True)
    there = f"raw-environment-{number}"
    uv = _uv(fetching.fetch(tool, environment.source.folder))
    subprocess.run([*ssh, f"mkdir -p {there}; cat >{there}/uv; chmod +x {there}/uv"], input=uv, check=True)
    os.sync()  # what was written before is not paid for here
    begun = time.monotonic()
    with pack.open("rb") as file:
        subprocess.run([*ssh, f"cat >{there}/wheels.tar"], stdin=file, check=True)
    names = " ".join(item.name for item in environment.packages)
    build = (
        f"cd {there} && tar -xf wheels.tar && export UV_CACHE_DIR=$PWD/cache && "
        f"./uv venv -q --python {environment.python.path} env && "
        f"./uv pip install -q --offline --no-index --no-deps --find-links . --python env/bin/python {names}"
    )
    subprocess.run([*ssh, build], check=True)
    took = time.monotonic() - begun
    subprocess.run([*ssh, f"rm -rf {there}"], check=True)
    return took


def _uv(file: Path) -> bytes:
    if file.suffix != ".whl":
        return file.read_bytes()
    name = subprocess.run(["unzip", "-Z1", file], check=True, capture_output=True, text=True).stdout
    inside = next(line for line in name.splitlines() if line.endswith(".data/scripts/uv"))
    return subprocess.run(["unzip", "-p", file, inside], check=True, capture_output=True).stdout


def _timed(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def _ensure(environment: PackedUv) -> tuple[float, Told]:
    told = Told()
    return _timed(lambda: environment.ensure(told.lines.append)), told


def _first(cluster: Cluster, environment: PackedUv, times: int) -> Result:
    took: list[tuple[float, float]] = []
    for number in range(times):
        by_hand = _raw(cluster, environment, number)
        cluster.ssh(f"rm -rf {environment.site.base}")
        os.sync()
        took.append((by_hand, _ensure(environment)[0]))
    raw, ours = (min(column) for column in zip(*took, strict=True))
    count = len(environment.packages)
    return Result(
        f"environment, first: {count} wheels, {_megabytes(environment):.0f} MB",
        seconds(ours),
        "1.2 x",
        ours / raw <= 1.2,
        seconds(raw),
        ours / raw,
        f"raw: ssh cat, then uv alone; the best of {times}; ours sends uv as well",
    )


def _unchanged(environment: PackedUv, site: Site) -> Result:
    named = UvEnvironment(project=environment.source.file)

    def again() -> None:
        prepared = named.prepare(site)
        prepared.activation()
        prepared.key()

    again()
    took = median([_timed(again) for _ in range(20)])
    return Result("environment, unchanged: added to a submit", seconds(took), "0.05 s", took <= 0.05)


def _one_more(environment: PackedUv) -> Result:
    took, told = _ensure(environment)
    beyond = took - told.built
    return Result(
        "environment, one more package: beyond building",
        seconds(beyond),
        "1 s, 1 package",
        beyond < 1.0 and told.packages == 1,
        remark=f"{told.packages} package sent, {told.sent:.1f} MB; built in {told.built:.1f} s",
    )


def _shared(first: PackedUv, other: PackedUv) -> Result:
    known = {item.sha256 for item in first.packages}
    own = sum(item.size or 0 for item in other.packages if item.sha256 not in known) / 1e6
    _, told = _ensure(other)
    share = told.sent / _megabytes(other)
    return Result(
        f"environment that shares {1 - own / _megabytes(other):.0%} of its bytes: sent",
        f"{share:.1%}",
        f"{own / _megabytes(other):.1%}",
        abs(told.sent - own) < 0.1,
        remark=f"{told.sent:.1f} of {_megabytes(other):.1f} MB",
    )
