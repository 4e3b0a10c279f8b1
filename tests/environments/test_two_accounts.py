"""Two accounts that share one folder with environments: who may use what, one build for both, and what is said else."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dagster_slurm.engine.host import Host
from dagster_slurm.environments.environment import Site
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import RemoteStorageError
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.transport.local import LocalTransport
from tests.environments.conftest import Told
from tests.transport import accounts
from tests.transport.accounts import Account

PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes accounts")


class AsUser(LocalTransport):
    """The agent of another account of this machine."""

    def __init__(self, account: Account) -> None:
        super().__init__(PYTHON, f"this machine as {account.name}")
        self._argv = as_user(account, self._argv)


def as_user(account: Account, argv: list[str]) -> list[str]:
    # as in a login: a home of one's own, and files that the group may not even read
    change = ["setpriv", "--reuid", account.name, "--regid", account.name, "--init-groups"]
    return [*change, "env", f"HOME={account.home}", "sh", "-c", 'umask 077; exec "$@"', "sh", *argv]


@dataclass(frozen=True)
class Pair:
    """Two accounts of one group, and the folder that both name.

    Args:
        first: owns the folder.
        second: the other.
        base: the folder.
        group: both are in it.
    """

    first: Account
    second: Account
    base: Path
    group: str

    def open(self, mode: int) -> None:
        """Make the folder anew, as open as this."""
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir()
        shutil.chown(self.base, self.first.name, self.group)
        self.base.chmod(mode)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    accounts.remove_leftovers()
    place = Path(tempfile.mkdtemp(prefix=f"{accounts.PREFIX}{os.getpid()}-", dir="/var/tmp"))
    place.chmod(0o755)
    group = f"{accounts.PREFIX}{os.getpid()}-us"
    subprocess.run(["groupadd", group], check=True)
    both = [accounts.create("bash", place, suffix) for suffix in ("1", "2")]
    for account in both:
        subprocess.run(["usermod", "-aG", group, account.name], check=True)
    yield Pair(both[0], both[1], place / "envs", group)
    for account in both:
        accounts.remove(account)
    subprocess.run(["groupdel", group], check=True)
    shutil.rmtree(place)


@pytest.fixture
def hosts(pair: Pair) -> Iterator[Callable[[Account], Host]]:
    made: list[Host] = []

    def make(account: Account) -> Host:
        made.append(Host(AsUser(account), Direct()))
        return made[-1]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def prepared(pair: Pair, hosts: Callable[[Account], Host], project: Path) -> Callable[..., PackedUv]:
    """The project's environment, as an account gets it."""

    def make(account: Account, *, archive: bool = False, more: bool = False) -> PackedUv:
        site = Site(agent=hosts(account), base=str(pair.base), python=PYTHON, archive=archive, storage="/var/tmp")
        groups = ("more",) if more else ()
        return UvEnvironment(project=project, python=PYTHON, groups=groups).prepare(site)

    return make


def six(environment: PackedUv, account: Account) -> str:
    """What a job of that account says of its environment."""
    run_dir = account.home / "run"
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir()
    os.chown(run_dir, account.uid, -1)
    activation = environment.activation()
    head = f'_ds_run_dir={run_dir} _ds_node=here _ds_restart=0\n_ds_give_up() {{ echo "gave up: $3"; exit "$1"; }}'
    look = f'{activation.python} -c "import six; print(six.__version__)"'
    lines = "\n".join([head, *activation.lines, look, "exec 7>&-", *activation.after])
    argv = as_user(account, ["bash", "-c", lines])
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/").stdout.strip()


@pytest.mark.parametrize("archive", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_group_builds_once_and_all_of_it_use_that(
    pair: Pair, prepared: Callable[..., PackedUv], told: Told, tell: Callable[[str], None], archive: bool
) -> None:
    pair.open(0o2770)
    both = {account: prepared(account, archive=archive) for account in (pair.first, pair.second)}
    threads = [threading.Thread(target=environment.ensure, args=(tell,)) for environment in both.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("was built in" in line for line in told) == 1, told
    assert {six(environment, account) for account, environment in both.items()} == {"1.16.0"}
    # nobody but its builder changes it, by Python's own files for instance
    place = Path(both[pair.first].place())
    assert not [path for path in place.rglob("*") if path.stat().st_mode & 0o022 and ".dagster-slurm" not in str(path)]


@pytest.mark.slow
def test_each_repairs_and_extends_what_the_other_built(
    pair: Pair, prepared: Callable[..., PackedUv], told: Told, tell: Callable[[str], None]
) -> None:
    pair.open(0o2770)
    prepared(pair.first).ensure(tell)
    theirs = prepared(pair.second)
    next(Path(theirs.place()).glob("lib/python3*/site-packages/six.py")).unlink()
    assert "perhaps purged" in six(theirs, pair.second)
    told.clear()
    theirs.ensure(tell)
    assert any("was built in" in line for line in told)
    assert {six(theirs, account) for account in (pair.first, pair.second)} == {"1.16.0"}
    told.clear()
    prepared(pair.second, more=True).ensure(tell)
    assert told[0].startswith("Sending 1 of ")
    told.clear()
    prepared(pair.first, more=True).ensure(tell)
    assert told == []


def test_others_may_use_what_they_may_read(
    pair: Pair, prepared: Callable[..., PackedUv], told: Told, tell: Callable[[str], None]
) -> None:
    pair.open(0o755)
    prepared(pair.first).ensure(tell)
    theirs = prepared(pair.second)
    told.clear()
    theirs.ensure(tell)
    assert told == []
    assert six(theirs, pair.second) == "1.16.0"
    with pytest.raises(RemoteStorageError, match=f"belongs to {pair.first.name}") as caught:
        prepared(pair.second, more=True).ensure(tell)
    said = str(caught.value)
    assert f"{pair.second.name} may not write to it (drwxr-xr-x)" in said
    assert f"Let {pair.first.name} build it, by a run or by `dagster-slurm env push`" in said
    assert f"chmod -R g+rwX {pair.base}" in said
    assert "set env_base to a folder of your own" in said


@pytest.mark.slow
def test_damage_that_this_account_cannot_mend(
    pair: Pair, prepared: Callable[..., PackedUv], tell: Callable[[str], None]
) -> None:
    pair.open(0o755)
    prepared(pair.first).ensure(tell)
    theirs = prepared(pair.second)
    next(Path(theirs.place()).glob("lib/python3*/site-packages/six.py")).unlink()
    said = six(theirs, pair.second)
    assert "perhaps purged" in said
    assert f"only {pair.first.name} can have it built anew" in said


def test_what_is_closed_says_so(pair: Pair, prepared: Callable[..., PackedUv], tell: Callable[[str], None]) -> None:
    pair.open(0o700)
    prepared(pair.first).ensure(tell)
    with pytest.raises(RemoteStorageError, match="may not enter it") as caught:
        prepared(pair.second)
    assert f"Let {pair.first.name} open it: chgrp -R GROUP {pair.base}" in str(caught.value)


@pytest.mark.slow
def test_opened_as_the_error_says_it_works(
    pair: Pair, prepared: Callable[..., PackedUv], told: Told, tell: Callable[[str], None]
) -> None:
    pair.open(0o700)
    prepared(pair.first).ensure(tell)
    for command in (["chgrp", "-R", pair.group], ["chmod", "-R", "g+rwX"], ["chmod", "g+s"]):
        subprocess.run(as_user(pair.first, [*command, str(pair.base)]), check=True)
    theirs = prepared(pair.second)
    told.clear()
    theirs.ensure(tell)
    assert told == []
    assert six(theirs, pair.second) == "1.16.0"
    prepared(pair.second, more=True).ensure(tell)
    prepared(pair.first, more=True).ensure(tell)


@pytest.mark.slow
def test_where_everybody_may_write_nothing_is_shared(
    pair: Pair, prepared: Callable[..., PackedUv], tell: Callable[[str], None]
) -> None:
    """Whoever comes first could have put anything there, under a name that others look for."""
    pair.open(0o1777)
    prepared(pair.first).ensure(tell)
    assert six(prepared(pair.first), pair.first) == "1.16.0"
    subprocess.run(["chmod", "-R", "a+rX", str(pair.base)], check=True)
    with pytest.raises(RemoteStorageError, match="everybody may write there") as caught:
        prepared(pair.second)
    assert "a folder that is yours or your group's alone" in str(caught.value)
    listed, _ = hosts_environments(replace(prepared(pair.first).site))
    assert [item["owner"] for item in listed] == [""]


def hosts_environments(site: Site) -> tuple[list[dict[str, object]], dict[str, object]]:
    """What ``env list`` sees, and what ``env gc`` does with all that is a day old."""
    listed, _ = site.agent.request("environments", base=site.base)
    cleaned, _ = site.agent.request("clean_environments", base=site.base, older=86400.0, most=1e18, dry=False)
    return listed["environments"], cleaned


def test_gc_spares_what_others_built_or_use(
    pair: Pair, prepared: Callable[..., PackedUv], tell: Callable[[str], None]
) -> None:
    pair.open(0o2770)
    made, theirs = prepared(pair.first), prepared(pair.second)
    made.ensure(tell)
    ready = Path(made.place()) / ".dagster-slurm" / "ready"
    old = ready.stat().st_mtime - 40 * 86400
    os.utime(ready, (old, old))
    listed, cleaned = hosts_environments(theirs.site)
    assert [item["owner"] for item in listed] == [pair.first.name]
    assert cleaned["removed"] == []
    # a run of the other's, below a folder that nobody else can look into
    (pair.second.home / "dagster-slurm" / "runs").mkdir(parents=True)
    pair.second.home.chmod(0o700)
    note = Path(made.place()) / ".dagster-slurm" / "bases"
    note.write_text(f"{pair.second.home}/dagster-slurm\n")
    listed, cleaned = hosts_environments(made.site)
    assert [item["in_use"] for item in listed] == [True]
    assert cleaned["removed"] == []
    old -= 60 * 86400
    os.utime(ready, (old, old))
    assert len(hosts_environments(made.site)[1]["removed"]) == 1
