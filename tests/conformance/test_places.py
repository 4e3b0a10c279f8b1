"""Where runs lie: odd names, and folders that cannot be used."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_slurm.errors import ConfigurationError, RemoteStorageError
from tests.conformance import rows
from tests.conformance.driver import Rig
from tests.conformance.places import small_disk
from tests.conformance.together import payload_of

ODD = 'it\'s a "base" with $HOME; `id` \\n %j #no * é 木'


@pytest.fixture
def small(rig: Rig) -> Iterator[Path]:
    """A file system of 600 KB."""
    with small_disk(rig) as folder:
        yield folder


@pytest.mark.parametrize("name", [ODD, "-dash", " blanks ", "a" * 200], ids=["odd", "dash", "blanks", "long"])
def test_a_base_with_an_odd_name(rig: Rig, name: str) -> None:
    base = f"{rig.shared}/{name}"
    played = rig.run('pwd; touch here; echo said >>"$MESSAGES"', base=base)
    assert (played.cause, played.heard.said) == ("success", {0: b"said\n"})
    assert played.heard.stdout.decode() == f"{payload_of(played.launch).directory}/work\n"
    assert played.launch.directory == f"{base}/runs/{played.launch.spec.key.folder}"
    assert (played.directory / "work" / "here").exists()


def test_a_base_that_cannot_be_named_in_a_script(faked: Rig) -> None:
    error = faked.begin("true", base=f"{faked.base}/two\nlines").error()
    assert isinstance(error, ConfigurationError)


def test_commands_on_a_path_with_blanks(tmp_path: Path) -> None:
    with rows.faked(tmp_path / "it's a path") as rig:
        assert rig.run("echo $PATH").cause == "success"


def test_a_file_is_in_the_way(rig: Rig) -> None:
    (rig.shared / "file").write_text("")
    for base in (rig.shared / "file", rig.shared / "file" / "below"):
        error = rig.begin("true", base=str(base)).error()
        assert isinstance(error, RemoteStorageError)
        assert str(rig.shared / "file") in error.message
        assert error.hint


@pytest.mark.cluster
@pytest.mark.parametrize(
    "base", ["/", str(Path("/", "root", "x")), "/proc/x", "{shared}/closed", "{shared}/closed/below"]
)
def test_a_base_that_may_not_be_written(real: Rig, base: str) -> None:
    closed = real.shared / "closed"
    closed.mkdir(mode=0o500)
    user = pwd.getpwnam(real.backstage.user)
    os.chown(closed, user.pw_uid, user.pw_gid)
    error = real.begin("true", base=base.format(shared=real.shared)).error()
    assert isinstance(error, RemoteStorageError)
    assert error.hint
    assert "remote_base" in error.hint


def test_a_disk_that_is_full_at_the_submit(rig: Rig, small: Path) -> None:
    (small / "filler").write_bytes(b"x" * (500 << 10))
    error = rig.begin("true", base=str(small), context=b"x" * (200 << 10)).error()
    assert isinstance(error, RemoteStorageError)
    assert error.hint
    assert "space" in error.hint
    assert not list(small.glob("runs/*/*/.stage*"))
    (small / "filler").unlink()
    # components have a context each
    size = (100 if rig.kind == "together" else 200) << 10
    assert rig.run("true", base=str(small), context=b"x" * size).cause == "success"
