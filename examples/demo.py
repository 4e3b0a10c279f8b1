"""Materialize the bike counters' assets and say what happened: on this machine, or with `--slurm` on a real cluster."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testcluster import Cluster

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
FOLDER = Path(os.environ.get("DEMO_FOLDER", REPOSITORY / ".demo")).resolve()
HOME = FOLDER / "dagster_home"
CLUSTER = os.environ.get("CLUSTER", "demo")
PARTITIONS = ("harbour-bridge", "university", "river-path")

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
"""


def prepare_home(home: Path = HOME) -> None:
    """Make a Dagster home for the examples, and use it."""
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(home)


def forget_clusters() -> None:
    """Drop what the environment says of clusters."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "DAGSTER_SLURM_"))]:
        del os.environ[name]


def this_machine() -> None:
    """Nothing tells the assets where to run: they run here. Their tables stay in the clone."""
    forget_clusters()
    os.environ["BIKE_COUNTERS_DATA"] = str(FOLDER / "data")


def real_cluster() -> Cluster:
    """Bring a cluster up, and let the environment tell the assets of it. Nothing else differs."""
    forget_clusters()
    sys.path.insert(0, str(REPOSITORY))
    from testcluster import ClusterError, ClusterOptions, up  # noqa: PLC0415  # only this mode needs it

    begun = time.monotonic()
    print("bringing up a Slurm cluster of 4 nodes on this machine", flush=True)
    try:
        cluster = up(ClusterOptions(name=CLUSTER))
    except ClusterError as error:
        sys.exit(f"demo: the cluster did not come up: {error}")
    os.environ.update(cluster.client_environment)
    os.environ.pop("BIKE_COUNTERS_DATA", None)  # the tables lie in the cluster's home
    print(f"it is up after {time.monotonic() - begun:.1f} s, and all that the assets are told of it is this:")
    for name, value in cluster.client_environment.items():
        print(f"  {name}={value}")
    return cluster


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slurm", action="store_true", help="on a real Slurm cluster, brought up on this machine")
    parser.add_argument("--scenes", action="store_true", help="with --slurm: only what goes wrong, without the assets")
    given = parser.parse_args()
    slurm = given.slurm or given.scenes
    begun = time.monotonic()
    prepare_home()
    cluster = real_cluster() if slurm else this_machine()

    sys.path.insert(0, str(HERE))
    if given.scenes:
        return 0 if cluster is not None and scenes(cluster) else 1
    # Dagster takes a second or two to import, and the environment decides what the definitions are
    from bike_counters.definitions import defs  # noqa: PLC0415
    from progress import Progress  # noqa: PLC0415

    progress = Progress()
    ok = progress.run(defs, "city")
    for partition in PARTITIONS:
        ok = progress.run(defs, "station", partition=partition) and ok
    if not ok:
        print(f"\nThe demonstration failed in {', '.join(progress.failures)}; what went wrong stands above.")
        return 1
    if cluster is not None and not scenes(cluster):
        print("\nA scene did not end as it should; what went wrong stands above.")
        return 1
    print(closing_words(progress.materialized, progress.checks, time.monotonic() - begun, slurm=slurm))
    return 0


def scenes(cluster: Cluster) -> bool:
    """Play the three scenes, with a Dagster home of their own; return whether they ended as they should."""
    print("\nNow what is seen when something goes wrong.", flush=True)
    prepare_home(FOLDER / "scenes_home")
    from scenes.show import show  # noqa: PLC0415  # reads the environment, as the definitions do

    return show(cluster)


def closing_words(materialized: dict[str, int], checks: dict[str, bool], seconds: float, *, slurm: bool) -> str:
    """Return what was materialized, and what to try next."""
    where = "as Slurm jobs" if slurm else "on this machine"
    assets = ", ".join(f"{name} ({count} partitions)" if count > 1 else name for name, count in materialized.items())
    passed = ", ".join(name for name, good in checks.items() if good) or "none"
    warned = ", ".join(name for name, good in checks.items() if not good) or "none"
    lines = [
        "",
        f"Materialized {where} in {seconds:.0f} s: {assets}.",
        f"Asset checks that passed: {passed}; that did not: {warned}.",
        "",
        "What to try next:",
    ]
    if slurm:
        lines += [
            "  make cluster-down   takes the cluster away again",
            "  make ui             these runs and more in Dagster's UI",
        ]
    else:
        lines += [
            "  make demo-slurm     the same assets, unchanged, as Slurm jobs on a real cluster",
            "  make ui             these runs and more in Dagster's UI",
        ]
    lines += ["  examples/bike_counters/definitions.py is all there is to the assets; README.md names your own cluster"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
