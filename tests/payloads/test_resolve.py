"""What the user may write as payload_path, and what comes of it."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path

import pytest

from dagster_slurm.errors import ConfigurationError, PayloadNotFound
from dagster_slurm.payloads.interpreter import command, python_path
from dagster_slurm.payloads.resolve import resolve


def tree(root: Path, *names: str, **contents: str) -> Path:
    for name in (*names, *contents):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents.get(name, ""))
    return root


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    return tree(tmp_path / "assets", "train.py", "my script.py", "sub/deep.py", "run.sh", "-x.py", "größe 'a'.py")


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    return tree(tmp_path / "project", "train.py", "other.py", "tools/go.sh")


class TestScript:
    @pytest.mark.parametrize(
        ("given", "where", "entry"),
        [
            ("train.py", "assets", "train.py"),
            ("./train.py", "assets", "train.py"),
            ("other.py", "project", "other.py"),
            ("my script.py", "assets", "my script.py"),
            ("sub/deep.py", "assets/sub", "deep.py"),
            ("../project/tools/go.sh", "project/tools", "go.sh"),
            ("-x.py", "assets", "-x.py"),
            ("größe 'a'.py", "assets", "größe 'a'.py"),
            (Path("train.py"), "assets", "train.py"),
        ],
    )
    def test_relative(
        self, *, tmp_path: Path, beside: Path, cwd: Path, given: str | Path, where: str, entry: str
    ) -> None:
        payload = resolve(given, beside=beside, cwd=cwd)
        assert (payload.kind, payload.root, payload.entry) == ("script", tmp_path / where, entry)

    def test_absolute_and_home(self, cwd: Path, beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(cwd))
        assert resolve(cwd / "other.py", beside=beside, cwd=beside).root == cwd
        assert resolve(str(cwd / "other.py"), beside=None, cwd=beside).root == cwd
        assert resolve("~/other.py", beside=None, cwd=beside).root == cwd

    def test_not_found_says_where_it_looked_and_what_is_near(self, beside: Path, cwd: Path) -> None:
        with pytest.raises(PayloadNotFound) as caught:
            resolve("trian.py", beside=beside, cwd=cwd)
        text = str(caught.value)
        assert str(beside / "trian.py") in text
        assert str(cwd / "trian.py") in text
        assert "did you mean: train.py" in text

    def test_near_match_one_folder_down(self, beside: Path, cwd: Path) -> None:
        with pytest.raises(PayloadNotFound, match=r"did you mean: sub/deep\.py"):
            resolve("deep.py", beside=beside, cwd=cwd)

    def test_a_folder(self, beside: Path, cwd: Path) -> None:
        with pytest.raises(PayloadNotFound, match="is a folder"):
            resolve("sub", beside=beside, cwd=cwd)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("train.py --epochs 3", "['train.py', '--epochs', '3']"),
            ("echo 'a b'", "['echo', 'a b']"),
            ("echo 'a b", '["echo", "\'a", \'b\']'),
        ],
    )
    def test_a_command_as_text(self, beside: Path, cwd: Path, given: str, words: str) -> None:
        with pytest.raises(PayloadNotFound, match="list of words") as caught:
            resolve(given, beside=beside, cwd=cwd)
        assert caught.value.hint is not None
        assert eval(words) == eval(caught.value.hint.partition("payload_path=")[2])

    @pytest.mark.parametrize("given", ["", "a\0b", [], [""], [b"x"], [3], ["echo", "a\0"], "x" * 5000])
    def test_nonsense(self, beside: Path, cwd: Path, given: object) -> None:
        with pytest.raises(ConfigurationError):
            resolve(given, beside=beside, cwd=cwd)  # type: ignore[arg-type]


class TestInterpreter:
    @pytest.mark.parametrize(
        ("name", "content", "argv"),
        [
            ("a.py", b"", ["PY", "F"]),
            ("a.py", b"#!/bin/sh\n", ["PY", "F"]),
            ("a.PY", b"", ["PY", "F"]),
            ("a.sh", b"", ["bash", "F"]),
            ("a.bash", b"echo", ["bash", "F"]),
            ("a.R", b"", ["Rscript", "F"]),
            ("a.r", b"", ["Rscript", "F"]),
            ("a.jl", b"", ["julia", "F"]),
            ("a.pl", b"", ["perl", "F"]),
            ("a.rb", b"", ["ruby", "F"]),
            ("a.js", b"", ["node", "F"]),
            ("a", b"#!/usr/bin/env python3\n", ["PY", "F"]),
            ("a", b"#!/usr/bin/python3.9 -u\r\n", ["PY", "-u", "F"]),
            ("a", b"#! /opt/conda/bin/python", ["PY", "F"]),
            ("a", b"#!/usr/bin/env -S python -u -X dev\n", ["PY", "-u", "-X", "dev", "F"]),
            ("a", b"#!/usr/bin/env python3 -u\n", ["PY", "-u", "F"]),
            ("a", b"#!/usr/bin/env -S A=1 python\n", ["env", "A=1", "python", "F"]),
            ("a", b"#!/usr/bin/env -S uv run --script\n", ["uv", "run", "--script", "F"]),
            ("a", b"#!/usr/bin/env --split-string=perl -w 'x y'\n", ["perl", "-w", "x y", "F"]),
            ("a", b"#!/bin/bash -l\n", ["/bin/bash", "-l", "F"]),
            ("a", b"#!\t/bin/sed\t-n -f\n", ["/bin/sed", "-n -f", "F"]),  # as Linux does: one argument
            ("a.sh", b"#!/bin/zsh\n", ["/bin/zsh", "F"]),
            ("a.sh", b"#!\n", ["bash", "F"]),
            ("pythonic", b"#!/usr/bin/pythonic\n", ["/usr/bin/pythonic", "F"]),
        ],
    )
    def test_words_before_the_script(self, tmp_path: Path, name: str, content: bytes, argv: list[str]) -> None:
        (tmp_path / name).write_bytes(content)
        payload = resolve(name, beside=tmp_path, cwd=tmp_path)
        names = {"PY": "/py", "F": f"/code/{name}"}
        assert command(payload, "/code", "/py") == tuple(names.get(word, word) for word in argv)

    def test_a_binary_runs_itself_if_it_may(self, tmp_path: Path) -> None:
        program = tmp_path / "program"
        program.write_bytes(Path(sys.executable).resolve().read_bytes()[:64])
        with pytest.raises(ConfigurationError, match="not executable"):
            resolve("program", beside=tmp_path, cwd=tmp_path)
        program.chmod(0o755)
        assert command(resolve("program", beside=tmp_path, cwd=tmp_path), "/c", "/py") == ("/c/program",)

    @pytest.mark.parametrize("name", ["thing", "thing.xyz", "notes.ipynb"])
    def test_nothing_known(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("echo")
        with pytest.raises(ConfigurationError, match=rf"payload_path=\['bash', '{name}'\]"):
            resolve(name, beside=tmp_path, cwd=tmp_path)
        payload = resolve(["bash", name], beside=tmp_path, cwd=tmp_path)
        assert command(payload, "/code", "/py") == ("bash", f"/code/{name}")


class TestCommand:
    @pytest.mark.parametrize(
        ("given", "argv", "travels"),
        [
            (["bash", "-c", "echo $X"], ("bash", "-c", "echo $X"), False),
            (["./run.sh", "--x"], ("bash", "/code/run.sh", "--x"), True),
            (["run.sh", "a b"], ("bash", "/code/run.sh", "a b"), True),
            (["tools/go.sh"], ("bash", "/code/go.sh"), True),
            (["BESIDE/run.sh"], ("bash", "/code/run.sh"), True),
            (["/bin/sh", "-c", "x"], ("/bin/sh", "-c", "x"), False),
            (["./not-here.sh"], ("./not-here.sh",), False),
            (["sub", "x"], ("sub", "x"), False),
            (["python", "-m", "site_tool"], ("/py", "-m", "site_tool"), False),
            (["python3", "train.py", "--x"], ("/py", "/code/train.py", "--x"), True),
            (["Rscript", "train.py"], ("Rscript", "/code/train.py"), True),
            (["python3.12", "-V"], ("python3.12", "-V"), False),
            (("srun", "hostname"), ("srun", "hostname"), False),
            ([Path("run.sh")], ("bash", "/code/run.sh"), True),
        ],
    )
    def test_words(self, beside: Path, cwd: Path, given: list[str], argv: tuple[str, ...], travels: bool) -> None:
        given = [str(word).replace("BESIDE", str(beside)) for word in given]
        payload = resolve(given, beside=beside, cwd=cwd)
        assert payload.kind == "command"
        assert command(payload, "/code", "/py") == argv
        assert (payload.root is not None) == travels


class TestModule:
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site = tree(
            tmp_path / "lib/site-packages",
            "installed/__init__.py",
            "installed/go.py",
            "single.py",
            "ns/mine/__init__.py",
            "ns/mine/go.py",
            "ns/other/__init__.py",
            "ns/flat.py",
        )
        src = tree(
            tmp_path / "src",
            "pkg/__init__.py",
            "pkg/__main__.py",
            "pkg/go.py",
            "pkg/sub/__init__.py",
            "pkg/sub/go.py",
            "plain/deep/__init__.py",
            "plain/deep/go.py",
            "alone.py",
        )
        for name in ("pkg/__init__.py", "installed/__init__.py", "pkg/go.py"):
            for root in (site, src):
                if (root / name).exists():
                    (root / name).write_text("raise SystemExit('executed')")
        monkeypatch.setattr(sys, "path", [*sys.path, str(src), str(site)])

    @pytest.mark.parametrize(
        ("given", "root", "parts", "entry"),
        [
            ("python -m pkg.go", "src", ("pkg",), "pkg/go.py"),
            ("python3 -m pkg.sub.go --x 'a b'", "src", ("pkg",), "pkg/sub/go.py"),
            ("  python  -m  pkg ", "src", ("pkg",), "pkg/__main__.py"),
            ("python -m plain.deep.go", "src", ("plain",), "plain/deep/go.py"),
            ("python -m alone", "src", (), "alone.py"),
            ("python -m installed.go", "lib/site-packages", ("installed",), "installed/go.py"),
            ("python -m single", "lib/site-packages", ("single.py",), "single.py"),
            ("python -m ns.mine.go", "lib/site-packages", ("ns/mine",), "ns/mine/go.py"),
            ("python -m ns.flat", "lib/site-packages", ("ns",), "ns/flat.py"),
        ],
    )
    def test_found(self, tmp_path: Path, given: str, root: str, parts: tuple[str, ...], entry: str) -> None:
        payload = resolve(given, beside=None, cwd=tmp_path)
        assert (payload.kind, payload.root, payload.parts, payload.entry) == ("module", tmp_path / root, parts, entry)
        assert python_path(payload, "/code") == ("/code",)
        assert "pkg" not in sys.modules

    def test_argv(self, tmp_path: Path) -> None:
        payload = resolve("python -m pkg.go --x 'a b'", beside=None, cwd=tmp_path)
        assert command(payload, "/code", "/py") == ("/py", "-m", "pkg.go", "--x", "a b")

    def test_beside_comes_before_the_path_and_an_asset_may_be_in_the_package(self, tmp_path: Path) -> None:
        beside = tree(tmp_path / "mine", "pkg/__init__.py", "pkg/assets/__init__.py", "pkg/go.py") / "pkg/assets"
        assert resolve("python -m pkg.go", beside=beside, cwd=tmp_path).root == tmp_path / "mine"
        assert resolve("python -m pkg.go", beside=tmp_path, cwd=tmp_path / "mine").root == tmp_path / "mine"

    def test_a_data_folder_of_that_name_does_not_hide_a_package(self, tmp_path: Path) -> None:
        tree(tmp_path / "cwd", "pkg/data.csv")
        assert resolve("python -m pkg.go", beside=None, cwd=tmp_path / "cwd").root == tmp_path / "src"

    def test_the_standard_library_stays_at_home(self, tmp_path: Path) -> None:
        payload = resolve("python -m json.tool x", beside=None, cwd=tmp_path)
        assert payload.root is None
        assert command(payload, "/code", "/py") == ("/py", "-m", "json.tool", "x")

    def test_editable_by_hook(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = tree(tmp_path / "elsewhere", "hooked/__init__.py", "hooked/go.py") / "hooked"

        class Finder:
            @staticmethod
            def find_spec(name: str, *_: object) -> object:
                if name != "hooked":
                    return None
                return importlib.machinery.PathFinder.find_spec(name, [str(package.parent)])

        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
        assert resolve("python -m hooked.go", beside=None, cwd=tmp_path).root == package.parent

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ("python -m nowhere.at.all", "no module 'nowhere.at.all'"),
            ("python -m pkg.nope", "no module 'pkg.nope'"),
            ("python -m pkg.sub", "without __main__"),
            ("python -m", "names no module"),
            ("python -m pkg/go.py", "names no module"),
            ("python -m pkg.go 'x", "cannot be split"),
        ],
    )
    def test_not_found(self, tmp_path: Path, given: str, says: str) -> None:
        with pytest.raises(PayloadNotFound, match=says):
            resolve(given, beside=None, cwd=tmp_path)
