"""Which files travel, and how it is said when they are too many."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from dagster_slurm.errors import ConfigurationError, PayloadTooLarge
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.payloads.collect import Collected, Limits, collect
from dagster_slurm.payloads.payload import Payload
from dagster_slurm.payloads.resolve import resolve


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(name)
        else:
            path.mkdir(exist_ok=True)
    return root


def collected(root: Path, entry: str = "train.py", limits: Limits | None = None) -> Collected:
    return collect(Payload("script", root=root, entry=entry), limits)


def names(root: Path, entry: str = "train.py") -> list[str]:
    return list(collected(root, entry).files)


def test_what_never_travels(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "train.py", "lib/util.py", "data.csv", ".env", ".config/x", "Ünï côde.txt", "-x",
        ".git/HEAD", "__pycache__/a.pyc", "lib/__pycache__/b.pyc", "lib/old.pyc", ".venv/bin/python",
        "env/pyvenv.cfg", "env/bin/python", "conda/conda-meta/x.json", "conda/bin/x", ".ipynb_checkpoints/n.ipynb",
        ".DS_Store", "lib/.DS_Store", ".mypy_cache/x", ".ruff_cache/x", ".pytest_cache/x", "node_modules/x/y.js",
    )  # fmt: skip
    assert names(tmp_path) == sorted(["train.py", "lib/util.py", "data.csv", ".env", ".config/x", "Ünï côde.txt", "-x"])


def test_git_as_a_file(tmp_path: Path) -> None:
    assert names(tree(tmp_path, "train.py", ".git")) == ["train.py"]


# rules of .gitignore files by folder, in the order outermost first
GITIGNORES: list[dict[str, str]] = [
    {"": "*.log\n!keep.log\n"},
    {"": "data/\n/top.txt\n"},
    {"": "data\n"},
    {"": "data/*\n!data/small.csv\n"},
    {"": "data/\n!data/small.csv\n"},  # a file of an ignored folder cannot come back
    {"": "*.csv\n", "job": "!*.csv\n"},
    {"": "!*.csv\n", "job": "*.csv\n"},
    {"": "job/data\n"},
    {"": "/data\n", "job/sub": "*\n!.gitignore\n"},
    {"": "**/deep\n"},
    {"": "sub/**\n"},
    {"": "a/**/z.py\n"},
    {"": "# comment\n\n\\#odd\ntrailing.txt   \n\\!bang\n"},
    {"": "!\n[a\n*.txt\n"},  # malformed lines spoil nothing
    {"": "*\n!*/\n!*.py\n"},
    {"": "/*\n!/job\n/job/*\n!/job/train.py\n!/job/sub\n"},
    {"": "[Dd]ata/\n?op.txt\n"},
    {"job": "/data\n", "job/data": "!small.csv\n"},
    {"": "\ufeff*.csv\r\n*.log\r\n"},
    {"": "größe.txt\n"},
    {"": "\\*.lit\n"},
]
FILES = [
    "top.txt", "job/train.py", "job/top.txt", "job/x.log", "job/keep.log", "job/data/big.csv", "job/data/small.csv",
    "job/sub/a.py", "job/sub/deep/b.py", "job/sub/deep/c.csv", "job/a/z.py", "job/a/b/c/z.py", "job/#odd",
    "job/!bang", "job/trailing.txt", "job/größe.txt", "job/data.csv", "job/sub/data", "job/*.lit", "job/x.lit",
]  # fmt: skip


@pytest.mark.parametrize("rules", GITIGNORES, ids=range(len(GITIGNORES)))
@pytest.mark.parametrize("folder", ["", "job"])
def test_as_git_does(tmp_path: Path, rules: dict[str, str], folder: str) -> None:
    tree(tmp_path, *FILES)
    for place, text in rules.items():
        (tmp_path / place / ".gitignore").write_text(text, newline="")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = subprocess.run(
        ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tmp_path / folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    root = tmp_path / folder
    entry = "job/train.py" if not folder else "train.py"
    assert names(root, entry) == sorted({entry, *filter(None, listed)})


def test_without_a_checkout_rules_start_at_the_root(tmp_path: Path) -> None:
    tree(tmp_path, "job/train.py", "job/a.csv", "job/sub/b.csv", "job/sub/c.txt")
    (tmp_path / ".gitignore").write_text("*.txt\n")
    (tmp_path / "job/.gitignore").write_text("a.csv\n")
    (tmp_path / "job/sub/.gitignore").write_text("b.csv\n")
    assert names(tmp_path / "job") == [".gitignore", "sub/.gitignore", "sub/c.txt", "train.py"]


def test_the_payload_travels_even_if_ignored(tmp_path: Path) -> None:
    tree(tmp_path, ".git/HEAD", "job/train.py", "job/util.py", "scratch/train.py", "scratch/util.py")
    (tmp_path / ".gitignore").write_text("train.py\nscratch\n")
    assert names(tmp_path / "job") == ["train.py", "util.py"]
    (tmp_path / "scratch/.gitignore").write_text("*.csv\ntrain.py\n")
    tree(tmp_path, "scratch/data.csv")
    found = collected(tmp_path / "scratch")  # the folder is: its files travel by its own rules
    assert list(found.files) == [".gitignore", "train.py", "util.py"]
    assert "is ignored by a .gitignore above it" in found.warnings[0]


def test_links(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "shared.py", "data/x")
    root = tree(tmp_path / "job", "train.py", "real.py", "folder/y")
    (root / "inner.py").symlink_to("real.py")
    (root / "outer.py").symlink_to(outside / "shared.py")
    (root / "to_folder").symlink_to(outside / "data")
    (root / "loop").symlink_to(".")
    (root / "self").symlink_to("self")
    (root / "dangling").symlink_to("nowhere")
    found = collected(root)
    assert list(found.files) == ["folder/y", "inner.py", "outer.py", "real.py", "train.py"]
    text = "\n".join(sorted(found.warnings))
    assert text.splitlines() == [
        "dangling is a link to nothing: left out",
        "loop is a link to a folder: left out (only links to files are followed)",
        f"outer.py is a link to {outside / 'shared.py'}: its content is sent",
        "self is a link to nothing: left out",
        "to_folder is a link to a folder: left out (only links to files are followed)",
    ]
    raw = b"".join(Bundle.from_files(found.files).chunks())
    assert raw.endswith(b"folder/y" + b"real.py" + b"shared.py" + b"real.py" + b"train.py")


def test_a_payload_that_is_a_link(tmp_path: Path) -> None:
    tree(tmp_path, "store/v1.py", "store/other.py", "job/util.py")
    (tmp_path / "job/train.py").symlink_to("../store/v1.py")
    payload = resolve("train.py", beside=tmp_path / "job", cwd=tmp_path)
    assert list(collect(payload).files) == ["train.py", "util.py"]


def test_sockets_and_pipes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "train.py")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        assert names(tmp_path) == ["train.py"]


def test_too_many_bytes(tmp_path: Path) -> None:
    tree(tmp_path, "train.py", "small.bin")
    for name, size in (("data.bin", 15_000_000), ("other.bin", 6_000_000)):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, size)
    with pytest.raises(PayloadTooLarge) as caught:
        collected(tmp_path)
    text = str(caught.value)
    assert f"The folder {tmp_path} holds 4 files of 21.0 MB in all; at most 500 files and 20.0 MB" in text
    assert "largest files: data.bin (15.0 MB), other.bin (6.0 MB)" in text
    assert str(tmp_path / ".gitignore") in text
    (tmp_path / ".gitignore").write_text("data.bin\n")
    assert len(collected(tmp_path).files) == 4


def test_too_many_files(tmp_path: Path) -> None:
    tree(tmp_path, "train.py", *(f"out/{number}" for number in range(500)))
    with pytest.raises(PayloadTooLarge, match=r"most files: out \(500 files\)"):
        collected(tmp_path)
    (tmp_path / "out/0").unlink()
    assert len(collected(tmp_path).files) == 500


def test_a_huge_tree_is_not_walked(tmp_path: Path) -> None:
    tree(tmp_path, "train.py", *(f"{a}/{b}/x" for a in range(30) for b in range(10)))
    limits = Limits(files=5, counted=20, seen=10_000)
    with pytest.raises(PayloadTooLarge, match="more than 2"):
        collected(tmp_path, limits=limits)
    (tmp_path / ".gitignore").write_text("x\n")
    with pytest.raises(PayloadTooLarge, match="more than 2 files"):
        collected(tmp_path, limits=Limits(seen=50))


def test_home_and_root_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tree(tmp_path / "home/me", "train.py", "work/train.py")
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent, Path("/")):
        with pytest.raises(ConfigurationError, match=f"The whole of {folder} would travel"):
            collected(folder)
    assert names(home / "work") == ["train.py"]


def test_of_a_module_only_its_package_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, ".git/HEAD", "pkg/__init__.py", "pkg/go.py", "pkg/sub/data.json", "pkg/x.log", "other/__init__.py")
    (tmp_path / ".gitignore").write_text("*.log\n")
    monkeypatch.setenv("HOME", str(tmp_path))  # the package's parent may be a home
    payload = resolve("python -m pkg.go", beside=None, cwd=tmp_path)
    assert list(collect(payload).files) == ["pkg/__init__.py", "pkg/go.py", "pkg/sub/data.json"]


def test_an_installed_package_travels_although_its_environment_is_ignored(tmp_path: Path) -> None:
    site = "env/lib/python3/site-packages"
    tree(tmp_path, ".git/HEAD", f"{site}/pkg/__init__.py", f"{site}/pkg/go.py", f"{site}/other.py")
    (tmp_path / ".gitignore").write_text("env\n")
    payload = Payload("module", root=tmp_path / site, module="pkg.go", entry="pkg/go.py", parts=("pkg",))
    assert list(collect(payload).files) == ["pkg/__init__.py", "pkg/go.py"]


def test_nothing_travels_with_a_plain_command(tmp_path: Path) -> None:
    assert collect(resolve(["hostname"], beside=tmp_path, cwd=tmp_path)) == Collected({}, 0)


def test_an_unreadable_folder_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tree(tmp_path_factory.mktemp("open"), "train.py", "secret/x")
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    root.chmod(0o755)
    (root / "secret").chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigurationError, match=f"{root}/secret cannot be read: Permission denied"):
            collected(root)
        (root / ".gitignore").exists()
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        (root / "secret").chmod(0o700)
