"""Build jobs that Slurm does not take at once, or whose submission was interrupted: one job, whatever happens."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.core.directives import directive
from dagster_slurm.engine.host import Host
from dagster_slurm.environments import build_job
from dagster_slurm.environments.environment import BuildJob, Site
from dagster_slurm.environments.uv import PackedUv, UvEnvironment
from dagster_slurm.errors import DagsterSlurmError, SubmissionRefused
from dagster_slurm.schedulers.direct import Direct
from dagster_slurm.schedulers.scheduler import SubmitAnswer
from dagster_slurm.schedulers.slurm import Slurm
from dagster_slurm.transport.local import LocalTransport
from tests.environments.conftest import Told
from tests.fakeslurm.fake import FakeSlurm, install

Tell = Callable[[str], None]
SLURM = Slurm()


def refusal(text: str, code: int | None, command: Any) -> DagsterSlurmError:
    return SLURM.refusal(SubmitAnswer(text, code, command, {}))


JOB = BuildJob(
    header=(directive("output", "build.log"),),
    submit=tuple(SLURM.submit()),
    queue=SLURM.queue,
    refusal=refusal,
    above=0,
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    with install(tmp_path / "slurm", kill_wait=0.3) as made:
        monkeypatch.setenv("PATH", made.path)
        monkeypatch.setattr(build_job, "_LOOK", 0.1)
        yield made


@pytest.fixture
def there(fake: FakeSlurm, warm: Path, site: Site) -> Site:
    return replace(site, build_job=JOB, python=sys.executable)


def prepared(site: Site, project: Path) -> PackedUv:
    return UvEnvironment(project=project, python=sys.executable).prepare(site)


def is_built(environment: PackedUv) -> bool:
    return (Path(environment.place()) / ".dagster-slurm" / "ready").exists()


def folder(environment: PackedUv) -> Path:
    return Path(environment.site.base) / "built" / ".jobs" / str(os.getuid()) / environment.key()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_submit_limit_is_waited_for(fake: FakeSlurm, there: Site, project: Path, told: Told, tell: Tell) -> None:
    fake.refuse("AssocMaxSubmitJobLimit", times=1)
    environment = prepared(there, project)
    environment.ensure(tell)
    assert is_built(environment)
    assert len(fake.calls("sbatch")) == 2
    assert len(fake.jobs()) == 1
    (line,) = (line for line in told if "not submitted yet" in line)
    assert "AssocMaxSubmitJobLimit" in line
    assert "repeated until Slurm takes it" in line


@pytest.mark.slow
def test_a_controller_that_is_away_is_waited_for(
    fake: FakeSlurm, there: Site, project: Path, told: Told, tell: Tell
) -> None:
    fake.controller_away(times=1)
    environment = prepared(there, project)
    environment.ensure(tell)
    assert is_built(environment)
    assert len(fake.jobs()) == 1
    assert any("not submitted yet" in line for line in told)


def test_what_is_refused_for_good_is_an_error_at_once(fake: FakeSlurm, there: Site, project: Path, tell: Tell) -> None:
    fake.refuse("partition")
    with pytest.raises(SubmissionRefused, match="Invalid partition"):
        prepared(there, project).ensure(tell)
    assert len(fake.calls("sbatch")) == 1


@pytest.mark.parametrize("how", [pytest.param("error", marks=pytest.mark.slow), "silent"])
def test_a_lost_reply_makes_no_second_job(fake: FakeSlurm, there: Site, project: Path, tell: Tell, how: str) -> None:
    fake.configure(pending_time=4.0)  # longer than the pause before the second try
    fake.lose_reply(how, times=1)
    environment = prepared(there, project)
    environment.ensure(tell)
    assert is_built(environment)
    assert len(fake.jobs()) == len(fake.calls("sbatch")) == 1


def in_a_process(project: Path, site: Site) -> None:
    host = Host(LocalTransport(), Direct())
    prepared(replace(site, agent=host, build_job=JOB), project).ensure(lambda _: None)


def killed_while_it_waits(fake: FakeSlurm, there: Site, project: Path, note: Path) -> int:
    """Ask in another process and kill it; return the job, which waits until it is released."""
    fake.configure(pending_time=None)
    bare = replace(there, agent=None, build_job=None)  # pyright: ignore[reportArgumentType] - no process takes these
    process = multiprocessing.get_context("spawn").Process(target=in_a_process, args=(project, bare))
    process.start()
    until(note.exists)
    process.kill()
    process.join()
    (job,) = fake.jobs()
    return job.id


@pytest.mark.parametrize("noted", [pytest.param(True, marks=pytest.mark.slow), False])
def test_killed_while_it_waits_the_next_one_adopts_the_job(
    fake: FakeSlurm, there: Site, project: Path, told: Told, noted: bool
) -> None:
    environment = prepared(there, project)
    note = folder(environment) / "job.json"
    job = killed_while_it_waits(fake, there, project, note)
    if not noted:  # its agent was killed as well, right after sbatch
        note.unlink()

    def release(text: str) -> None:
        told.append(text)
        if f"built in job {job} " in text and fake.job(job).state == "PENDING":
            fake.release(job)

    environment.ensure(release)
    assert is_built(environment)
    assert len(fake.jobs()) == len(fake.calls("sbatch")) == 1
    assert any(f"built in job {job} " in line for line in told)


@pytest.mark.slow
def test_a_job_that_was_cancelled_unseen_is_replaced(fake: FakeSlurm, there: Site, project: Path, tell: Tell) -> None:
    """Whoever waited for it was killed, and somebody cancelled it since: the next run does not fail for it."""
    environment = prepared(there, project)
    note = folder(environment) / "job.json"
    fake.cancel(killed_while_it_waits(fake, there, project, note))
    fake.configure(pending_time=0.0)
    note.write_text(json.dumps({**json.loads(note.read_text()), "time": 0, "seen": 0}))
    environment.ensure(tell)
    assert is_built(environment)
    assert len(fake.jobs()) == 2
