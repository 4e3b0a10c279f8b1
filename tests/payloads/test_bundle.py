"""What travels arrives, once, whole, or not at all."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_slurm.errors import ConfigurationError
from dagster_slurm.payloads import bundle as module
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.remote import store


def files(root: Path, contents: dict[str, bytes]) -> dict[str, Path]:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return {name: root / name for name in contents}


def send(bundle: Bundle, base: Path, size: int = 7) -> Path:
    incoming = store.Incoming(str(base), bundle.key)
    for chunk in bundle.chunks(size):
        incoming.write(chunk)
    return Path(incoming.commit())


def receive(raw: bytes, key: str, base: Path) -> None:
    incoming = store.Incoming(str(base), key)
    incoming.write(raw)
    incoming.commit()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(base: Path) -> list[str]:
    return [path.name for path in (base / "store").iterdir() if path.name.startswith(".")]


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "base dir ü"
    for folder, _, _ in os.walk(tmp_path):
        Path(folder).chmod(0o700)


NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.lists(NAME, min_size=1, max_size=3).map("/".join), st.binary(max_size=40), max_size=6),
    st.integers(1, 64),
)
def test_roundtrip(contents: dict[str, bytes], size: int) -> None:
    names = set(contents)
    contents = {name: data for name, data in contents.items() if not any(n.startswith(name + "/") for n in names)}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        sources: dict[str, Path] = {}
        for number, (name, data) in enumerate(contents.items()):
            sources[name] = root / str(number)
            sources[name].write_bytes(data)
        bundle = Bundle.from_files(sources)
        raw = b"".join(bundle.chunks(size))
        assert hashlib.sha256(raw).hexdigest() == bundle.key
        assert len(raw) == bundle.size
        assert all(len(chunk) == size for chunk in list(bundle.chunks(size))[:-1])
        base = root / "base"
        assert content(send(bundle, base, size)) == contents
        assert store.have(str(base), [bundle.key]) == []
        store.remove(str(base), bundle.key)
        assert list((base / "store").iterdir()) == []


def test_format_and_modes(tmp_path: Path, base: Path) -> None:
    sources = files(tmp_path, {"b/run": b"22", "a.py": b"1"})
    sources["b/run"].chmod(0o755)
    bundle = Bundle.from_files(sources)
    first, _, rest = b"".join(bundle.chunks()).partition(b"\n")
    assert json.loads(first) == [["a.py", 0o444, 1], ["b/run", 0o555, 2]]
    assert rest == b"122"
    entry = send(bundle, base)
    assert str(entry) == store.path(str(base), bundle.key)
    modes = {name: stat.S_IMODE((entry / name).stat().st_mode) for name in ("", "b", "a.py", "b/run")}
    assert modes == {"": 0o500, "b": 0o500, "a.py": 0o400, "b/run": 0o500}
    assert stat.S_IMODE((base / "store").stat().st_mode) == 0o700
    assert leftovers(base) == []


def test_the_key_is_the_content(tmp_path: Path) -> None:
    one = Bundle.from_files(files(tmp_path / "1", {"a": b"x", "b": b""}))
    two = Bundle.from_files(files(tmp_path / "2", {"b": b"", "a": b"x"}))
    other = Bundle.from_files(files(tmp_path / "3", {"a": b"", "b": b"x"}))
    assert one.key == two.key != other.key


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a/.", "a\0b", "a\udcff", ".."]
)
def test_names_that_cannot_travel(tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(ConfigurationError, match="cannot travel"):
        Bundle.from_files({name: tmp_path / "f"})


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(ConfigurationError, match="'a' would be a file"):
        Bundle.from_files({"a": tmp_path / "f", "a/b/c": tmp_path / "f"})


@pytest.mark.parametrize("now", [b"12345", b"123", b"abcd", None])
def test_changed_meanwhile(tmp_path: Path, now: bytes | None) -> None:
    sources = files(tmp_path, {"a": b"1234"})
    bundle = Bundle.from_files(sources)
    if now is None:
        sources["a"].unlink()
    else:
        sources["a"].write_bytes(now)
    with pytest.raises(ConfigurationError, match=r"changed while|cannot be read"):
        list(bundle.chunks())


def test_missing_and_odd_sources(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Bundle.from_files({"a": tmp_path / "none"})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        Bundle.from_files({"a": tmp_path / "pipe"})


def test_unreadable_source() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        secret = Path(place) / "secret"
        secret.write_text("x")
        secret.chmod(0)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(ConfigurationError, match="secret cannot be read: Permission denied"):
                Bundle.from_files({"a": secret})
        finally:
            if os.getuid() == 0:
                os.seteuid(0)


def test_unchanged_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = files(tmp_path, {"a": b"1234"})
    cache = module._digest.cache_info  # pyright: ignore[reportPrivateUsage]
    hits = cache().hits
    assert Bundle.from_files(sources) == Bundle.from_files(sources)
    assert cache().hits == hits  # young files are never trusted
    monkeypatch.setattr(module, "_RACY_NS", 0)
    first = Bundle.from_files(sources)
    assert Bundle.from_files(sources) == first
    assert cache().hits == hits + 1
    sources["a"].write_bytes(b"4321")
    os.utime(sources["a"], ns=(0, first.members[0].stamp[0]))
    assert Bundle.from_files(sources).key != first.key


def test_reading_is_streamed(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"")
    os.truncate(tmp_path / "big", 50_000_000)
    bundle = Bundle.from_files({"big": tmp_path / "big"})
    assert max(len(chunk) for chunk in bundle.chunks()) == 256 * 1024


# --- the other side


def raw_bundle(rows: object, body: bytes = b"") -> tuple[str, bytes]:
    raw = json.dumps(rows).encode() + b"\n" + body
    return hashlib.sha256(raw).hexdigest(), raw


@pytest.mark.parametrize(
    "rows",
    [
        [["/etc/x", 0o444, 0]],
        [["../x", 0o444, 0]],
        [["a/../../x", 0o444, 0]],
        [["", 0o444, 0]],
        [["a//b", 0o444, 0]],
        [["./a", 0o444, 0]],
        [["a\0", 0o444, 0]],
        [["\udcff", 0o444, 0]],
        [["a", 0o444, 0], ["a", 0o444, 0]],
        [["a", 0o444, 0], ["a/b", 0o444, 0]],
        [["a", 0o444, -1]],
        [["a", 0o444]],
        [["a", None, 0]],
        [[1, 0o444, 0]],
        {"a": 1},
        3,
    ],
)
def test_bad_manifests(base: Path, rows: object) -> None:
    key, raw = raw_bundle(rows)
    incoming = store.Incoming(str(base), key)
    with pytest.raises(store.Damaged):
        incoming.write(raw)
    assert list((base / "store").iterdir()) == []


@pytest.mark.parametrize("damage", ["short", "long", "flip", "empty", "no manifest"])
def test_damaged(tmp_path: Path, base: Path, damage: str) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"a": b"1234", "b": b"5678"}))
    raw = b"".join(bundle.chunks())
    raw = {
        "short": raw[:-1],
        "long": raw + b"x",
        "flip": raw[:-1] + b"x",
        "empty": b"",
        "no manifest": b"hello\n",
    }[damage]
    with pytest.raises(store.Damaged):
        receive(raw, bundle.key, base)
    assert list((base / "store").iterdir()) == []
    assert store.have(str(base), [bundle.key]) == [bundle.key]


@pytest.mark.parametrize("key", ["", "x" * 64, "../../etc", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_keys_are_checked(base: Path, key: str) -> None:
    for call in (store.Incoming, store.path, store.remove):
        with pytest.raises(ValueError, match="not a key"):
            call(str(base), key)


def test_two_at_once(tmp_path: Path, base: Path) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"d/a": b"1" * 5000, "b": b"5678"}))
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(send, bundle, base, 100) for _ in range(8)]
    assert {one.result() for one in sent} == {base / "store" / bundle.key}
    assert content(base / "store" / bundle.key) == {"d/a": b"1" * 5000, "b": b"5678"}
    assert leftovers(base) == []


def test_interrupted_uploads_do_not_count_and_are_swept(tmp_path: Path, base: Path) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"d/a": b"1" * 5000, "b": b"5678"}))
    incoming = store.Incoming(str(base), bundle.key)
    incoming.write(next(bundle.chunks(3000)))
    assert store.have(str(base), [bundle.key]) == [bundle.key]
    assert store.sweep(str(base)) == 0
    old = time.time() - 25 * 3600
    os.utime(base / "store" / leftovers(base)[0], (old, old))
    send(bundle, base)
    assert store.sweep(str(base)) == 1
    assert leftovers(base) == []
    assert store.have(str(base), [bundle.key]) == []
    assert store.sweep(str(tmp_path / "nothing here")) == 0


def test_discard(tmp_path: Path, base: Path) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"a": b"1234"}))
    incoming = store.Incoming(str(base), bundle.key)
    incoming.write(b"".join(bundle.chunks())[:-1])
    incoming.discard()
    incoming.discard()
    assert list((base / "store").iterdir()) == []


def test_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        bundle = Bundle.from_files(files(tmp_path, {"a/b": b"1" * 200_000}))
        with pytest.raises(OSError, match="No space") as caught:
            send(bundle, disk, 10_000)
        assert caught.value.errno == errno.ENOSPC
        assert list((disk / "store").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("damage", ["gone", "short", "manifest"])
def test_an_entry_with_holes_is_missing_and_replaced(tmp_path: Path, base: Path, damage: str) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"d/a": b"1234", "b": b"5678"}))
    entry = send(bundle, base)
    manifest = base / "store" / f"{bundle.key}.json"
    for folder in (entry, entry / "d"):
        folder.chmod(0o700)
    if damage == "gone":
        (entry / "d/a").unlink()
    elif damage == "short":
        (entry / "b").chmod(0o600)
        (entry / "b").write_bytes(b"")
    assert store.have(str(base), [bundle.key]) == []  # looked over today
    old = time.time() - 25 * 3600
    os.utime(manifest, (old, old))
    if damage == "manifest":
        manifest.unlink()
    assert store.have(str(base), [bundle.key]) == [bundle.key]
    send(bundle, base)
    assert content(entry) == {"d/a": b"1234", "b": b"5678"}
    assert store.have(str(base), [bundle.key]) == []


def test_looking_over_is_rare(tmp_path: Path, base: Path) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"a": b"1234"}))
    send(bundle, base)
    manifest = base / "store" / f"{bundle.key}.json"
    os.utime(manifest, (0, 0))
    assert store.have(str(base), [bundle.key, bundle.key]) == []
    assert manifest.stat().st_mtime > time.time() - 60


def test_remove(tmp_path: Path, base: Path) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"d/a": b"1234"}))
    store.remove(str(base), bundle.key)
    send(bundle, base)
    for _ in range(2):
        store.remove(str(base), bundle.key)
        assert store.have(str(base), [bundle.key]) == [bundle.key]
    assert leftovers(base) == []


def test_place(tmp_path: Path, base: Path) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"d/ü": b"1234", "b": b"5678"}))
    send(bundle, base)
    work = tmp_path / "work"
    for _ in range(2):
        store.place(str(base), bundle.key, str(work))
    assert content(work) == {"d/ü": b"1234", "b": b"5678"}
    (work / "b").unlink()
    (work / "b").write_text("mine")
    with pytest.raises(FileExistsError):
        store.place(str(base), bundle.key, str(work))


def test_python_36() -> None:
    source = Path(store.__file__).read_text()
    ast.parse(source, feature_version=(3, 6))


def test_on_python_36(tmp_path: Path, python_of: Callable[[str], str]) -> None:
    bundle = Bundle.from_files(files(tmp_path, {"größe/日本\n'x": b"1234", "-b": b""}))
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import store\n"
        "base, key = 'b\\u00fc', sys.argv[2]\n"
        "incoming = store.Incoming(base, key)\n"
        "for chunk in iter(lambda: sys.stdin.buffer.read(11), b''): incoming.write(chunk)\n"
        "incoming.commit(); store.place(base, key, 'w\\u00e4')\n"
        "assert store.have(base, [key, '0' * 64]) == ['0' * 64]; assert store.sweep(base) == 0\n"
    )
    done = subprocess.run(
        [python_of("3.6"), "-c", program, str(Path(store.__file__).parent), bundle.key],
        input=b"".join(bundle.chunks()),
        cwd=tmp_path,
        env={"LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert content(tmp_path / "bü/store" / bundle.key) == {"größe/日本\n'x": b"1234", "-b": b""}
    assert content(tmp_path / "wä") == {"größe/日本\n'x": b"1234", "-b": b""}
