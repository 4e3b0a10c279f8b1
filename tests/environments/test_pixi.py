"""pixi environments, against a stand-in for pixi-pack: the real one cannot be had on machines of tests.

The stand-in takes the documented command line of 0.6 and 0.7, and writes a self-extracting archive that leaves the
documented layout: ``env/`` and ``activate.sh``, which names the place it was unpacked to.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_slurm import ComputeResource
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.pixi import PackedPixi, PixiEnvironment
from dagster_slurm.environments.pixi_project import locked_platforms
from dagster_slurm.errors import ConfigurationError, EnvironmentNotBuilt
from tests.environments.conftest import Told, write
from tests.environments.test_in_assets import failure, local, materialize, reported

__all__ = ["local"]

Tell = Callable[[str], None]

LOCK = """version: 6
environments:
  default:
    channels:
    - url: https://conda.example.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.example.org/conda-forge/linux-64/python-3.11.0-h1_0.conda
      osx-arm64:
      - conda: https://conda.example.org/conda-forge/osx-arm64/python-3.11.0-h1_0.conda
  gpu:
    channels:
    - url: https://conda.example.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.example.org/conda-forge/linux-64/python-3.11.0-h1_0.conda
packages:
- conda: https://conda.example.org/conda-forge/linux-64/python-3.11.0-h1_0.conda
"""
PIXI_PACK = """#!{python}
import argparse, pathlib, sys

old = {old}
if "--version" in sys.argv:
    sys.exit(print("pixi-pack 0.6.5" if old else "pixi-pack 0.7.6"))
parser = argparse.ArgumentParser()
if old:
    parser.add_argument("pack", choices=["pack"])
    parser.add_argument("--manifest-file", required=True)
else:
    parser.add_argument("manifest")
parser.add_argument("--environment", default="default")
parser.add_argument("--platform", required=True)
parser.add_argument("--create-executable", action="store_true", required=True)
parser.add_argument("--output-file", required=True)
parser.add_argument("--inject", action="append", default=[])
parser.add_argument("--use-cache")
asked = parser.parse_args()
manifest = pathlib.Path(asked.manifest_file if old else asked.manifest)
assert manifest.is_file() if old else manifest.is_dir()
script = '''#!/usr/bin/env bash
set -euo pipefail
while [ $# -gt 0 ]; do case "$1" in --output-directory) out=$2; shift 2 ;; *) exit 2 ;; esac; done
{fails}
mkdir -p "$out/env/bin" "$out/env/share"
ln -s {python} "$out/env/bin/python"
echo "$PACKED" >"$out/env/share/packed"
printf 'export PATH="%s/env/bin:$PATH"\\nexport CONDA_PREFIX="%s/env"\\n' "$out" "$out" >"$out/activate.sh"
'''.replace("$PACKED", " ".join([asked.environment, asked.platform, *asked.inject]))
pathlib.Path(asked.output_file).write_text(script)
"""


@pytest.fixture
def pixi(tmp_path: Path) -> Path:
    write(tmp_path / "pixi" / "pixi.toml", "[workspace]\n")
    return write(tmp_path / "pixi" / "pixi.lock", LOCK).parent


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*, old: bool = False, fails: str = "") -> None:
        path = write(tmp_path / "tools" / "pixi-pack", PIXI_PACK.format(python=sys.executable, old=old, fails=fails))
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    return install


def packed(environment: PackedPixi) -> str:
    return (Path(environment.place()) / "env" / "share" / "packed").read_text().strip()


def test_the_lock_is_read() -> None:
    assert locked_platforms(LOCK) == {"default": ["linux-64", "osx-arm64"], "gpu": ["linux-64"]}


@pytest.mark.parametrize("old", [True, False])
def test_packed_once_sent_and_unpacked(
    site: Site, pixi: Path, stand_in: Callable[..., None], told: Told, old: bool
) -> None:
    tell = told.append
    stand_in(old=old)
    write(pixi / "local-1.0.conda", f"package {old}")
    environment = PixiEnvironment(project=pixi, name="gpu", platform="linux-64", inject=["*.conda"]).prepare(site)
    environment.ensure(tell)
    assert packed(environment) == f"gpu linux-64 {pixi / 'local-1.0.conda'}"
    assert [line.split()[0] for line in told] == ["Packing", "Sending", "Environment"]
    told.clear()
    environment.ensure(tell)
    assert told == []


def test_what_makes_another_environment(site: Site, pixi: Path) -> None:
    def key(**options: object) -> str:
        return PixiEnvironment(project=pixi, platform="linux-64", **options).prepare(site).key()  # pyright: ignore[reportArgumentType]

    write(pixi / "src" / "a.py", "")
    keys = {key(), key(name="gpu"), key(cache_inject_globs=["src/*"])}
    write(pixi / "src" / "a.py", "changed")
    keys.add(key(cache_inject_globs=["src/*"]))
    assert len(keys) == 4
    assert key() in keys


def test_errors(site: Site, pixi: Path, stand_in: Callable[..., None], tell: Tell, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not for linux-aarch64") as caught:
        PixiEnvironment(project=pixi, platform="linux-aarch64").prepare(site)
    assert "osx-arm64" in str(caught.value)
    with pytest.raises(ConfigurationError, match="no environment 'cpu'"):
        PixiEnvironment(project=pixi, platform="linux-64", name="cpu").prepare(site)
    with pytest.raises(ConfigurationError, match=r"no pixi\.lock"):
        PixiEnvironment(project=tmp_path / "nowhere").prepare(site)
    environment = PixiEnvironment(project=pixi, platform="linux-64", cache_inject_globs=["pixi.toml"]).prepare(site)
    with pytest.raises(ConfigurationError, match="there is no pixi-pack on PATH"):
        environment.ensure(tell)
    stand_in(fails="echo 'no space' >&2; exit 4")
    with pytest.raises(EnvironmentNotBuilt, match="no space"):
        environment.ensure(tell)
    assert not Path(environment.place()).exists()


def test_in_an_asset_and_after_a_purge(
    tmp_path: Path, pixi: Path, stand_in: Callable[..., None], local: ComputeResource
) -> None:
    stand_in()
    environment = PixiEnvironment(project=pixi, cache_inject_globs=["pixi.lock"])
    found = reported(materialize(local, tmp_path, environment=environment))
    assert "/envs/built/" in found["python"] or Path(found["python"]).resolve() == Path(sys.executable).resolve()
    (share,) = (tmp_path / "base" / "envs" / "built").glob("*/env/share/packed")
    share.unlink()
    assert "env/share/packed" in failure(materialize(local, tmp_path, environment=environment))
    assert reported(materialize(local, tmp_path, environment=environment))
    assert share.exists()


def test_a_pack_command_of_the_asset(
    tmp_path: Path, pixi: Path, stand_in: Callable[..., None], local: ComputeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    monkeypatch.chdir(pixi)
    pack = f"pixi-pack . --platform linux-64 --create-executable --output-file {tmp_path}/own.sh"
    command = f"sh -c '{pack}; echo {tmp_path}/own.sh'"
    reported(materialize(local, tmp_path, metadata={"slurm_pack_cmd": command}))
    (share,) = (tmp_path / "base" / "envs" / "built").glob("*/env/share/packed")
    assert share.read_text().strip() == "default linux-64"


def test_what_the_resource_says_holds_where_the_environment_says_nothing() -> None:
    said = PixiEnvironment(platform="osx-arm64", cache_inject_globs=["a"])
    assert said.where_unsaid("linux-64", ["b"], auto_detect_platform=True).platform == "osx-arm64"
    unsaid = PixiEnvironment().where_unsaid("linux-aarch64", ["b"], auto_detect_platform=False)
    assert unsaid == PixiEnvironment(platform="linux-aarch64", cache_inject_globs=("b",), auto_detect_platform=False)


def test_this_machines_platform_without_asking(site: Site, pixi: Path) -> None:
    class Silent:
        name = "nobody"

        def __getattr__(self, name: str) -> None:
            raise AssertionError("somebody asked the host")

    unasked = replace(site, agent=Silent())  # pyright: ignore[reportArgumentType]
    environment = PixiEnvironment(project=pixi, auto_detect_platform=False).prepare(unasked)
    assert environment.platform == "linux-64"
