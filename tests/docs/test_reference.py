"""Pages that list things list all of them: errors and their messages, metadata, commands, public names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

import dagster_slurm
from dagster_slurm import errors
from dagster_slurm.cli import main
from dagster_slurm.core.verdict import Cause
from dagster_slurm.errors import DagsterSlurmError, JobError
from tests.core import test_facts

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DagsterSlurmError)]
TROUBLE = (DOCS / "troubleshooting.md").read_text()


def entry(kind: type) -> str:
    """What the page says of an error."""
    match = re.search(rf"^### {kind.__name__}\n(.*?)(?=^##|\Z)", TROUBLE, re.MULTILINE | re.DOTALL)
    assert match, f"docs/troubleshooting.md has no entry for {kind.__name__}"
    return match[1]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_an_entry(kind: type[DagsterSlurmError]) -> None:
    text = entry(kind)
    assert len(text.split()) > 10
    if issubclass(kind, JobError) and kind is not JobError:
        assert f"Cause `{kind.cause}`" in text
    said = re.search(r"Retried: (yes|no)", text)
    assert said is None or (said[1] == "yes") is kind.allow_retries


def test_no_entry_for_what_there_is_not() -> None:
    assert set(re.findall(r"^### (\w+)$", TROUBLE, re.MULTILINE)) == {kind.__name__ for kind in ERRORS}


def test_every_cause_of_a_verdict_has_an_entry() -> None:
    told = set(re.findall(r"^Cause `(\w+)`", TROUBLE, re.MULTILINE))
    assert set(get_args(Cause)) - {"success"} <= told
    assert told == {kind.cause for kind in ERRORS if issubclass(kind, JobError) and kind is not JobError}


def test_messages_are_ours() -> None:
    """What the page quotes is somewhere in the sources, word by word."""
    sources = [*(REPOSITORY / "src").glob("**/*.py"), *(REPOSITORY / "src").glob("**/*.sh")]
    # a message may be written over two lines
    text = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in sources))
    quoted = re.findall(r"^> (.+)$", TROUBLE, re.MULTILINE)
    assert len(quoted) > 40
    assert [message for message in quoted if message not in text] == []


def test_all_metadata_of_a_job_are_explained() -> None:
    page = (DOCS / "metrics.md").read_text()
    told = test_facts.accounted(CpuSeconds="400.0", GpuUtilisation="87.0", GpuKiB=str(3 << 20))
    found = test_facts.facts(test_facts.ended(cpus=4, time_limit="1:00:00", verdict=told))
    assert not [name for name in [*found, "step"] if f"`slurm/{name}`" not in page]
    known = {*found, "step", "right_sizing", "usage"}
    assert set(re.findall(r"^\| `slurm/(\w+)`", page, re.MULTILINE)) <= known


def test_all_commands_are_listed() -> None:
    page = (DOCS / "command-line.md").read_text()
    named = set(re.findall(r"`([a-z]+)[ `]", "\n".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))))
    assert set(main.list_commands(None)) == named - {"command"}  # pyright: ignore[reportArgumentType]


def test_all_public_names_are_in_the_reference() -> None:
    page = (DOCS / "api.md").read_text()
    assert not [name for name in dagster_slurm.__all__ if not re.search(rf"^::: [\w.]+\.{name}$", page, re.MULTILINE)]
