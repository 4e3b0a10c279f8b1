"""What can be run, where it is looked for, and what comes with it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource
from tests.dagster.conftest import BOTH
from tests.dagster.support import Bench, asset_that_runs

SAYS = "from dagster_pipes import open_dagster_pipes\nwith open_dagster_pipes() as pipes:\n    {}\n"


def reporting(expression: str) -> str:
    return SAYS.format(f"pipes.report_asset_materialization(metadata={{'seen': {expression}}})")


def seen(bench: Bench, payload: Any, **arguments: Any) -> Any:
    ran = bench.run(payload, **arguments)
    assert ran.success
    return ran.metadata()["seen"]


def test_beside_the_file_that_defines_the_asset_then_here(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, here = tmp_path / "project", tmp_path / "here"
    for folder in (project / "assets", here):
        folder.mkdir(parents=True)
    (project / "assets" / "both.py").write_text(reporting("'beside'"))
    (here / "both.py").write_text(reporting("'here'"))
    (here / "only_here.py").write_text(reporting("'only here'"))
    (project / "assets" / "definitions.py").write_text(
        "import dagster as dg\n"
        "from dagster_slurm import ComputeResource\n"
        "def make(path):\n"
        "    @dg.asset\n"
        "    def one(context: dg.AssetExecutionContext, compute: ComputeResource):\n"
        "        return compute.run(context=context, payload_path=path)\n"
        "    return one\n"
    )
    spec = importlib.util.spec_from_file_location("definitions_of_a_user", project / "assets" / "definitions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "definitions_of_a_user", module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(here)
    assert bench.materialize(module.make("both.py")).metadata()["seen"] == "beside"
    assert bench.materialize(module.make(Path("only_here.py"))).metadata()["seen"] == "only here"
    failed = bench.materialize(module.make("bth.py")).failure
    assert failed.metadata["slurm/error"] == "PayloadNotFound"
    for told in ("There is no payload 'bth.py'", str(project / "assets" / "bth.py"), str(here / "bth.py"), "both.py"):
        assert told in failed.text


@BOTH
def test_a_module_of_a_package(any_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "code" / "analysis"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("ANSWER = 42\n")
    (package / "train.py").write_text(
        "import sys\nfrom analysis.helper import ANSWER\n" + reporting("[ANSWER, *sys.argv[1:]]")
    )
    monkeypatch.chdir(tmp_path / "code")
    assert seen(any_bench, "python -m analysis.train --rate '0 1'") == [42, "--rate", "0 1"]
    failed = any_bench.refused("python -m analysis.tran")
    assert failed.metadata["slurm/error"] == "PayloadNotFound"


@BOTH
def test_commands_as_lists(any_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = any_bench.payloads.plain("import sys\n" + reporting("sys.argv[1:]"), "with blank.py")
    nasty = ["a b", "'", '"', "$HOME", "*", "ü", "-x", "", ";true"]
    monkeypatch.chdir(path.parent)
    assert seen(any_bench, ["python", "with blank.py", *nasty]) == nasty
    assert any_bench.run(["bash", "-c", "test $# -eq 2 && test \"$1\" = 'x y'", "bash", "x y", "z"]).success
    assert not any_bench.run(["false"]).success


SCRIPTS = {
    "payload.sh": "[ $# -eq 0 ] && exec {python} -c {code}\n",
    "with_line": "#!/usr/bin/env bash\nexec {python} -c {code}\n",
    "payload.pl": 'exec("{python}", "-c", {code}) or die;\n',
    "payload.awk": 'BEGIN {{ print "awk is here"; exit 0 }}\n',
    "odd-name ü'\".sh": "true\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_of_other_languages(bench: Bench, name: str) -> None:
    text = SCRIPTS[name].format(python=sys.executable, code='"print(3 * 14)"')
    path = bench.payloads.plain(text, name)
    assert bench.run(path).success


def test_a_script_without_any_hint(bench: Bench) -> None:
    failed = bench.refused(bench.payloads.plain("true\n", "nameless"))
    assert "Nothing says how to start the payload 'nameless'" in failed.text


@BOTH
def test_its_folder_comes_along(any_bench: Bench) -> None:
    path = any_bench.payloads.plain(
        "import os, pathlib\nfrom helper import ANSWER\nhere = pathlib.Path(__file__).parent\n"
        "data = here.joinpath('data', 'x.txt').read_text()\n"
        "assert str(here) == os.environ['DAGSTER_SLURM_PAYLOAD_DIR']\n"
        "assert os.listdir('.') == [], os.listdir('.')\n"
        "assert os.path.basename(os.getcwd()) == 'work'\n"
        "assert not (here / 'secret.env').exists()\n" + reporting("[ANSWER, data]")
    )
    (path.parent / "helper.py").write_text("ANSWER = 42\n")
    (path.parent / "data").mkdir()
    (path.parent / "data" / "x.txt").write_text("ünïcode")
    (path.parent / "secret.env").write_text("x")
    (path.parent / ".gitignore").write_text("*.env\n")
    assert seen(any_bench, path) == [42, "ünïcode"]


def test_a_folder_too_large_to_travel(bench: Bench) -> None:
    path = bench.payloads.plain("")
    with (path.parent / "weights.bin").open("wb") as file:
        file.truncate(21_000_000)
    failed = bench.refused(path)
    assert failed.metadata["slurm/error"] == "PayloadTooLarge"
    assert "weights.bin (21.0 MB)" in failed.text
    assert ".gitignore" in failed.text


@BOTH
def test_extra_files_and_variables(any_bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "b.txt").write_text("B")
    path = any_bench.payloads.plain(
        "import os, pathlib\nread = lambda name: pathlib.Path(name).read_text()\n"
        + reporting("[read('a.txt'), read('folder/deep/b.txt'), os.environ['ODD'], os.environ['NUMBER']]")
    )
    odd = "quote ' \" $HOME `id` \\ \n line ü"
    files = [tmp_path / "a.txt", tmp_path / "folder"]
    found = seen(any_bench, path, extra_files=files, extra_env={"ODD": odd, "NUMBER": 3})
    assert found == ["A", "B", odd, "3"]
    other = any_bench.payloads.plain("import pathlib\n" + reporting("pathlib.Path('in/here.txt').read_text()"))
    assert seen(any_bench, other, extra_files={"in/here.txt": tmp_path / "a.txt"}) == "A"


@pytest.mark.parametrize("destination", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "~/out.txt"])
def test_extra_files_cannot_escape(bench: Bench, tmp_path: Path, destination: str) -> None:
    (tmp_path / "a.txt").write_text("A")
    failed = bench.refused(extra_files={destination: tmp_path / "a.txt"})
    assert repr(destination) in failed.text
    assert "not a place in the run's working directory" in failed.text


def test_extra_files_that_are_not_there(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "inputs.csv").write_text("A")
    failed = bench.refused(extra_files=[tmp_path / "input.csv"])
    assert "input.csv" in failed.text
    assert "did you mean: inputs.csv" in failed.text
    assert "extra_files=['one.txt']" in bench.refused(extra_files="one.txt").text


@pytest.mark.parametrize("name", ["A B", "1A", "A=B", "Ä", "", "A;B", "A\n"])
def test_bad_names_of_variables(bench: Bench, name: str) -> None:
    failed = bench.refused(extra_env={name: "x"})
    assert repr(name) in failed.text
    assert "is not a name for an environment variable" in failed.text


def test_variables_that_are_ours(bench: Bench) -> None:
    assert "is set by dagster-slurm" in bench.refused(extra_env={"DAGSTER_PIPES_CONTEXT": "x"}).text
    assert "NUL" in bench.refused(extra_env={"A": "x\0y"}).text


@BOTH
def test_payloads_that_lie_there_already(any_bench: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if any_bench.on_cluster:
        cluster = request.getfixturevalue("cluster")
        folder = cluster.home / "there"
        cluster.run(["mkdir", "-p", str(folder)])
    else:
        folder = tmp_path / "there"
        folder.mkdir()
    path = folder / "payload.py"
    path.write_text("import os\nassert 'DAGSTER_SLURM_PAYLOAD_DIR' not in os.environ\n" + reporting("__file__"))
    assert seen(any_bench, str(path), skip_payload_upload=True) == str(path)
    assert seen(any_bench, "not/here.py", remote_payload_path=str(path)) == str(path)
    assert seen(any_bench, ["python", str(path), "1"], skip_payload_upload=True) == str(path)
    always = any_bench.compute.model_copy(update={"default_skip_payload_upload": True})
    ran = any_bench.materialize(asset_that_runs(str(path)), resources={"compute": rebuilt(always)})
    assert ran.metadata()["seen"] == str(path)
    relative = any_bench.refused("payload.py", skip_payload_upload=True)
    assert "'payload.py' is not an absolute path" in relative.text


def rebuilt(compute: ComputeResource) -> ComputeResource:
    values = {name: getattr(compute, name) for name in type(compute).model_fields}
    return ComputeResource(**values)


@BOTH
def test_an_environment_that_lies_there(any_bench: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A folder with bin/python, or with activate.sh; said by the resource or by the asset's metadata."""
    base = request.getfixturevalue("cluster").home if any_bench.on_cluster else tmp_path
    plain, active = base / "an env", base / "active"
    (plain / "bin").mkdir(parents=True, exist_ok=True)
    python = "/usr/bin/python3" if any_bench.on_cluster else sys.executable
    wrapper = plain / "bin" / "python"
    wrapper.write_text(f'#!/bin/sh\nFROM_ENV=plain exec {python} "$@"\n')
    wrapper.chmod(0o755)
    active.mkdir(exist_ok=True)
    (active / "activate.sh").write_text(f"export FROM_ENV='active one'\nexport PATH='{plain / 'bin'}':$PATH\n")
    path = any_bench.payloads.plain("import os\n" + reporting("os.environ.get('FROM_ENV')"))

    @dg.asset(metadata={"slurm_pre_deployed_env_path": str(plain)})
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    assert any_bench.materialize(one).metadata()["seen"] == "plain"
    values = {name: getattr(any_bench.compute, name) for name in type(any_bench.compute).model_fields}
    for given, told in {str(active): "plain", str(base / "missing"): None}.items():
        compute = ComputeResource(**{**values, "pre_deployed_env_path": given})
        ran = any_bench.materialize(asset_that_runs(path), resources={"compute": compute})
        if told is None:
            assert "no activate.sh and no bin/python" in ran.failure.text
            assert given in ran.failure.text
        else:
            assert ran.metadata()["seen"] == told


@pytest.mark.cluster
def test_places_on_the_cluster_are_expanded_there(cluster_bench: Bench, request: pytest.FixtureRequest) -> None:
    cluster = request.getfixturevalue("cluster")
    (cluster.home / "home-env" / "bin").mkdir(parents=True, exist_ok=True)
    link = cluster.home / "home-env" / "bin" / "python"
    if not link.exists():
        link.symlink_to("/usr/bin/python3")
    values = {name: getattr(cluster_bench.compute, name) for name in type(cluster_bench.compute).model_fields}
    path = cluster_bench.payloads.plain("import sys\n" + reporting("sys.executable"))
    for given in ("~/home-env", "$HOME/home-env"):
        compute = ComputeResource(**{**values, "pre_deployed_env_path": given})
        ran = cluster_bench.materialize(asset_that_runs(path), resources={"compute": compute})
        assert ran.metadata()["seen"] == str(link)
    compute = ComputeResource(**{**values, "pre_deployed_env_path": "$NOT_THERE/env"})
    ran = cluster_bench.materialize(asset_that_runs(path), resources={"compute": compute})
    assert "$NOT_THERE/env" in ran.failure.text
    assert "has a variable that is not set" in ran.failure.text


def test_the_python_of_local_mode_is_dagsters(bench: Bench) -> None:
    path = bench.payloads.plain("import sys, dagster\n" + reporting("sys.executable"))
    assert seen(bench, path) == sys.executable


@BOTH
def test_an_own_key_names_the_folder(any_bench: Bench) -> None:
    ran = any_bench.run(["true"], key="my call: 1/2")
    folder = Path(ran.metadata()["slurm/run_directory"])
    assert folder.name.startswith("my_call_1_2.0")
    assert folder.parent.name == "one"
    assert folder.parent.parent.name == ran.result.run_id


@BOTH
def test_poll_timeout_gives_up_and_cancels(any_bench: Bench, request: pytest.FixtureRequest) -> None:
    path = any_bench.payloads.plain("import time\nprint('began', flush=True)\ntime.sleep(60)\n")
    failed = any_bench.refused(path, poll_timeout=2)
    assert failed.metadata["slurm/error"] == "WaitedTooLong"
    assert failed.metadata["slurm/cause"] == "poll_timeout"
    job = failed.metadata["slurm/job_id"]
    for told in ("poll_timeout=2 s is over", f"{job} was cancelled", "payload.py", "| began", "time_limit"):
        assert told in failed.text
    if any_bench.on_cluster:
        state = request.getfixturevalue("cluster").run(["squeue", "-h", "-j", str(job), "-o", "%T"]).stdout.strip()
        assert state in ("", "CANCELLED", "COMPLETING")
