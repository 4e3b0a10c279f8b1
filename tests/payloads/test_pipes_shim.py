"""dagster_pipes on Pythons with and without it: real interpreters, real imports."""

from __future__ import annotations

import ast
import base64
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_slurm.payloads.pipes_shim import pipes_bundle
from dagster_slurm.remote import pipes_on_old_python, pipes_shim, store

SITE_COPY = "MARK = 'the site\\'s own'\n__version__ = '0.0'\ndef open_dagster_pipes(): return MARK\nclass Thing: pass\n"
SESSION = """
from dagster_pipes import open_dagster_pipes, PipesContext
with open_dagster_pipes() as pipes:
    assert PipesContext.get() is pipes
    pipes.log.info("hello %s", pipes.partition_key)
    pipes.report_asset_materialization(metadata={"n": {"raw_value": 3, "type": "int"}, "x": 1.5}, data_version="v")
    pipes.report_asset_check(check_name="c", passed=True, severity="WARN", metadata={"t": "text"})
    pipes.report_custom_message({"a": [1, pipes.get_extra("e")]})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundle is unpacked, read-only, as on the target."""
    base = tmp_path_factory.mktemp("base")
    bundle = pipes_bundle()
    incoming = store.Incoming(str(base), bundle.key)
    for chunk in bundle.chunks():
        incoming.write(chunk)
    return Path(incoming.commit())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's packages with a dagster_pipes of their own."""
    package = tmp_path / "site/dagster_pipes"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SITE_COPY)
    (package / "version.py").write_text("__version__ = 'site'\n")
    return package.parent


def run(
    code: str, folder: Path, *, site: Path | None = None, python: str = sys.executable, cwd: Path | None = None
) -> str:
    """Run code in an interpreter without site-packages; ``site`` is put where those come: behind PYTHONPATH."""
    start = f"import sys; sys.path.append({str(site)!r})\n" if site else ""
    done = subprocess.run(
        [python, "-S", "-W", "error", "-c", start + code],
        env={"PYTHONPATH": str(folder), **PIPES, "LC_ALL": "C"},
        cwd=cwd or folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def encoded(value: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


PIPES: dict[str, str] = {}


@pytest.mark.parametrize(
    ("code", "bundled", "sites"),
    [
        ("import dagster_pipes as d; print(d.__name__, d.__file__)", "dagster_pipes FOLDER", "dagster_pipes SITE"),
        ("from dagster_pipes import open_dagster_pipes as o; print(o.__module__)", "dagster_pipes", "dagster_pipes"),
        ("import dagster_pipes.version as v; print(v.__file__)", "FOLDER", "SITE"),
        ("from dagster_pipes.version import __version__; print(bool(__version__))", "True", "True"),
        (
            "import importlib, dagster_pipes as d; print(importlib.import_module('dagster_pipes') is d is "
            "__import__('sys').modules['dagster_pipes'])",
            "True",
            "True",
        ),
        ("import dagster_pipes as d; print(d.__spec__.name, d.__spec__._initializing)", "dagster_pipes False", None),
        ("import dagster_pipes as d; print(hasattr(d, 'become') or d.__package__)", "dagster_pipes", None),
        ("import dagster_pipes as d, importlib; print(importlib.reload(d) is d)", "True", "True"),
    ],
)
@pytest.mark.parametrize("with_site", [False, True])
def test_import(folder: Path, site: Path, *, code: str, bundled: str, sites: str | None, with_site: bool) -> None:
    said = run(code, folder, site=site if with_site else None)
    said = said.replace(f"{folder}/bundled/dagster_pipes", "FOLDER").replace(f"{site}/dagster_pipes", "SITE")
    expected = (sites or bundled) if with_site else bundled
    assert said.replace("/__init__.py", "").replace("/version.py", "") == expected


def test_pickling(folder: Path, site: Path) -> None:
    code = (
        "import pickle, dagster_pipes as d\n"
        "thing = d.Thing if hasattr(d, 'Thing') else d.DagsterPipesError\n"
        "print(pickle.loads(pickle.dumps(thing)) is thing)"
    )
    assert run(code, folder) == run(code, folder, site=site) == "True"


def test_multiprocessing_and_threads(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import multiprocessing, threading\n"
        "def work(n):\n"
        "    import dagster_pipes\n"
        "    return dagster_pipes.PIPES_PROTOCOL_VERSION_FIELD\n"
        "if __name__ == '__main__':\n"
        "    results = []\n"
        "    threads = [threading.Thread(target=lambda: results.append(work(0))) for _ in range(8)]\n"
        "    [t.start() for t in threads]; [t.join() for t in threads]\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        results += pool.map(work, range(2))\n"
        "    print(len(results), set(results))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-m", "job"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "10 {'__dagster_pipes_version'}\n"


def test_a_broken_site_copy_is_not_hidden(folder: Path, site: Path) -> None:
    (site / "dagster_pipes/__init__.py").write_text("raise ImportError('broken')")
    code = (
        "import sys\n"
        "for _ in range(2):\n"
        "    try: import dagster_pipes\n"
        "    except ImportError as error: print(error, 'dagster_pipes' in sys.modules)"
    )
    assert run(code, folder, site=site) == "broken False\nbroken False"


def test_a_folder_of_that_name_does_not_count(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dagster_pipes").mkdir()
    assert "bundled" in run("import dagster_pipes as d; print(d.__file__)", folder, cwd=tmp_path)


def test_importing_the_shim_here_does_nothing() -> None:
    assert sys.modules["dagster_slurm.remote.pipes_shim"] is pipes_shim
    assert "bundled" not in str(getattr(sys.modules.get("dagster_pipes"), "__file__", ""))


@pytest.mark.parametrize("module", [pipes_shim, pipes_on_old_python])
def test_python_36(module: object) -> None:
    ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 6))  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_a_session(
    folder: Path, tmp_path: Path, python_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    context = {
        "asset_keys": ["a"], "code_version_by_asset_key": {"a": None}, "provenance_by_asset_key": {"a": None},
        "partition_key": "p", "partition_key_range": {"start": "p", "end": "p"}, "partition_time_window": None,
        "run_id": "r", "job_name": "j", "retry_number": 0, "extras": {"e": 5},
    }  # fmt: skip
    (tmp_path / "context.json").write_text(json.dumps(context))
    (tmp_path / "messages").touch()
    monkeypatch.setitem(PIPES, "DAGSTER_PIPES_CONTEXT", encoded({"path": str(tmp_path / "context.json")}))
    monkeypatch.setitem(PIPES, "DAGSTER_PIPES_MESSAGES", encoded({"path": str(tmp_path / "messages")}))
    run(SESSION, folder, python=python_of(version))
    messages = [json.loads(line) for line in (tmp_path / "messages").read_text().splitlines()]
    assert [message["method"] for message in messages] == [
        "opened", "log", "report_asset_materialization", "report_asset_check", "report_custom_message", "closed",
    ]  # fmt: skip
    assert messages[2]["params"]["metadata"]["x"] == {"raw_value": 1.5, "type": "__infer__"}
    assert messages[4]["params"] == {"payload": {"a": [1, 5]}}


def test_an_exception_on_old_python(
    folder: Path, tmp_path: Path, python_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = python_of("3.6")
    monkeypatch.setitem(PIPES, "DAGSTER_PIPES_MESSAGES", encoded({"path": str(tmp_path / "messages")}))
    monkeypatch.setitem(PIPES, "DAGSTER_PIPES_CONTEXT", encoded({"data": {"extras": {}, "asset_keys": None}}))
    code = (
        "from dagster_pipes import open_dagster_pipes\n"
        "try:\n"
        "    with open_dagster_pipes():\n"
        "        raise ValueError('boom')\n"
        "except ValueError: print('raised')"
    )
    assert run(code, folder, python=python) == "raised"
    last = json.loads((tmp_path / "messages").read_text().splitlines()[-1])
    assert (last["method"], last["params"]["exception"]["name"]) == ("closed", "ValueError")
