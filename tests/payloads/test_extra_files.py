"""Extra files: where they come from, where they go, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_slurm.errors import ConfigurationError, PayloadTooLarge
from dagster_slurm.payloads import extra_files as module
from dagster_slurm.payloads.extra_files import extra_files


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    root = tmp_path / "assets"
    for name in ("config.yaml", "data/a.csv", "data/.gitignore", "data/ignored.log", "data/__pycache__/x.pyc", "b.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("*.log" if name.endswith("ignore") else name)
    return root


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/only.txt").write_text("here")
    return tmp_path / "project"


ALL = [".gitignore", "__pycache__/x.pyc", "a.csv", "ignored.log"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], []),
        (["config.yaml"], [(".", ["config.yaml"])]),
        (["data/a.csv", "only.txt"], [(".", ["a.csv"]), (".", ["only.txt"])]),
        (["data"], [("data", ALL)]),
        (["./data/"], [("data", ALL)]),
        ([Path("data")], [("data", ALL)]),
        ({"conf/x.yaml": "config.yaml"}, [("conf", ["x.yaml"])]),
        ({"conf/": "config.yaml"}, [("conf", ["config.yaml"])]),
        ({"./": "config.yaml"}, [(".", ["config.yaml"])]),
        ({"./x.yaml": Path("config.yaml")}, [(".", ["x.yaml"])]),
        ({".": "data"}, [(".", ALL)]),
        ({"in/put": "data"}, [("in/put", ALL)]),
        ({"in": "data", "in/x": "config.yaml"}, [("in", ALL), ("in", ["x"])]),
        ({"-x 'ü": "config.yaml"}, [(".", ["-x 'ü"])]),
    ],
)
def test_where_they_go(beside: Path, cwd: Path, given: object, found: list[tuple[str, list[str]]]) -> None:
    extra = extra_files(given, beside=beside, cwd=cwd)  # type: ignore[arg-type]
    assert [(into, [member.name for member in bundle.members]) for into, bundle in extra] == found


def test_absolute_sources(beside: Path, cwd: Path) -> None:
    (only,) = extra_files([beside / "b.bin"], beside=None, cwd=cwd)
    assert b"".join(only.bundle.chunks()).endswith(b"b.bin")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("config.yaml", r"extra_files=\['config.yaml'\]"),
        (["nothing.yaml"], "there is no 'nothing.yaml'"),
        (["confg.yaml"], "did you mean: config.yaml"),
        ({"/etc/x": "config.yaml"}, "not a place in the run's working directory"),
        ({"../x": "config.yaml"}, "not a place"),
        ({"a/../../x": "config.yaml"}, "not a place"),
        ({"~/x": "config.yaml"}, "not a place"),
        ({"": "config.yaml"}, "not a place"),
        ({"a\0": "config.yaml"}, "not a place"),
        ({".": "config.yaml"}, "needs a name"),
        (["config.yaml", "./config.yaml"], "'config.yaml' is named twice"),
        ({"a/b": "config.yaml", "./a//b": "b.bin"}, "'a/b' is named twice"),
        ({"in": "data", "in/a.csv": "b.bin"}, "'in/a.csv' is named twice"),
        ({"a": "config.yaml", "a/b": "b.bin"}, "'a' would be a file, and the folder of 'a/b'"),
        ({"a\udcff": "b.bin"}, "not Unicode"),
    ],
)
def test_refused(beside: Path, cwd: Path, given: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        extra_files(given, beside=beside, cwd=cwd)  # type: ignore[arg-type]


def test_a_home_and_a_huge_folder_are_refused(beside: Path, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMITS", module.Limits(counted=2))
    with pytest.raises(PayloadTooLarge):
        extra_files(["data"], beside=beside, cwd=cwd)
    monkeypatch.setenv("HOME", str(beside / "data"))
    with pytest.raises(ConfigurationError, match="would travel"):
        extra_files(["data"], beside=beside, cwd=cwd)
