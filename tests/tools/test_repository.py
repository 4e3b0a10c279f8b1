"""What must not lie in the repository, and what its entry points promise."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
REGISTRIES = ("pypi" + ".org", "python" + "hosted", "ana" + "conda.org", "npm" + "js.org")


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a clone")
    return [path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_no_path_of_a_machine_and_no_registry() -> None:
    here = [f"{folder}/" for folder in (REPOSITORY, Path.home()) if folder != Path("/")]
    forbidden = re.compile("|".join(map(re.escape, [*REGISTRIES, *here])))
    found = [
        f"{path.relative_to(REPOSITORY)}: {match.group()}"
        for path in tracked()
        if path.name != "uv.lock" and (match := forbidden.search(path.read_text(errors="replace")))
    ]
    assert not found


def test_make_lists_its_targets() -> None:
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    promised = "demo demo-slurm test test-all check bench cluster-up cluster-down ui"
    assert set(promised.split()) <= set(re.findall(r"make ([a-z-]+)", listed))
