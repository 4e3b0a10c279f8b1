"""Words before every command."""

import os
import shutil
from pathlib import Path

import pytest

from dagster_slurm import ComputeResource
from dagster_slurm.environments.prefix import Around, CommandPrefix, rendered
from dagster_slurm.errors import ConfigurationError
from tests.environments import image as images
from tests.environments.test_in_assets import materialize, reported

PLAIN = Around(run_dir="/b/runs/1", base_dir="/b")
FULL = Around(run_dir="/b/runs/1", base_dir="/b", data_dir="/d", gpus=True)


@pytest.mark.parametrize(
    ("prefix", "around", "words"),
    [
        (CommandPrefix(["env", "-C", "{work_dir}", "{command}"]), PLAIN, "env -C /b/runs/1/work"),
        (CommandPrefix(["wrap", "--in={run_dir}"]), PLAIN, "wrap --in=/b/runs/1"),
        (CommandPrefix.apptainer("a.sif"), PLAIN, "apptainer exec --bind=/b --pwd=/b/runs/1/work a.sif"),
        (
            CommandPrefix.apptainer("a.sif"),
            FULL,
            "apptainer exec --nv --bind=/b --bind=/d --pwd=/b/runs/1/work a.sif",
        ),
        (
            CommandPrefix.apptainer("a.sif", rocm=True, options=["--cleanenv"]),
            FULL,
            "apptainer exec --rocm --bind=/b --bind=/d --pwd=/b/runs/1/work --cleanenv a.sif",
        ),
        (
            CommandPrefix.podman_hpc("me/torch"),
            FULL,
            "podman-hpc run --rm --gpu --volume=/b:/b --volume=/d:/d --env-host --workdir=/b/runs/1/work me/torch",
        ),
        (CommandPrefix.charliecloud("/i"), PLAIN, "ch-run --write --bind=/b --cd=/b/runs/1/work /i --"),
    ],
)
def test_words(prefix: CommandPrefix, around: Around, words: str) -> None:
    assert rendered(prefix.words, around) == tuple(words.split())


def test_what_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown placeholder \{image\}"):
        CommandPrefix(["run", "{image}"])
    with pytest.raises(ConfigurationError, match="not the last word"):
        CommandPrefix(["run", "{command}", "--quiet"])


def test_a_wrapper_beside_dagster(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrap er.sh"
    wrapper.write_text(
        '#!/bin/bash\nprintf "%s\\n" "$@" "$DAGSTER_SLURM_COMMAND_PREFIX" >"$1/seen"\nshift\nexec "$@"\n'
    )
    wrapper.chmod(0o755)
    compute = ComputeResource(mode="local", local_environment="same", local_base=str(tmp_path / "base"))
    found = reported(materialize(compute, tmp_path, environment=CommandPrefix([str(wrapper), str(tmp_path)])))
    assert found["python"]
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[1] == "python3"
    assert seen[2].endswith("/main.py")
    assert seen[3] == f"'{wrapper}' {tmp_path}"


@pytest.mark.skipif(shutil.which("ch-run") is None, reason="no charliecloud here")
def test_a_container_beside_dagster(tmp_path: Path) -> None:
    image = images.make(tmp_path / "image")
    environment = CommandPrefix.charliecloud(str(image), options=images.BINDS, python="/usr/bin/python3")
    # ch-run mounts the host's /tmp: the base lies elsewhere, and must be bound
    base = Path("/var/tmp") / tmp_path.name
    compute = ComputeResource(mode="local", local_environment="same", local_base=str(base))
    user = {"USER": os.environ.get("USER", "root")}  # ch-run wants it, and containers of tests have none
    try:
        assert (
            reported(materialize(compute, tmp_path, environment=environment, extra_env=user))["python"]
            == "/usr/bin/python3"
        )
    finally:
        shutil.rmtree(base)
    assert any((image / "var" / "tmp").iterdir())
