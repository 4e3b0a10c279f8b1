"""Environments with heavy packages, made once per machine with the Python that the cluster's nodes have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

#: readable by the clusters' users; a machine's cache, like the test cluster's packages
BASE = Path(os.environ.get("DAGSTER_SLURM_TEST_ENVIRONMENTS", "/var/cache/dagster-slurm/environments"))
NODE_PYTHON = "/usr/bin/python3"


def environment(name: str, *requirements: str) -> Path:
    """Return the environment with these requirements; makes it if it is not there, from the package index."""
    place = BASE / name
    if not (place / ".complete").exists():
        uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".tools/bin/uv")
        shutil.rmtree(place, ignore_errors=True)
        BASE.mkdir(parents=True, exist_ok=True)
        subprocess.run([uv, "venv", "--quiet", "--python", NODE_PYTHON, place], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", place / "bin/python"]
        subprocess.run([*install, *requirements], check=True)
        (place / ".complete").touch()
    return place


def ray() -> Path:
    return environment("ray", "ray==2.60.*")


def spark() -> Path:
    return environment("spark", "pyspark==3.5.*")
