from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm.core.spec import LaunchKey, RunPaths, check_environment
from dagster_slurm.errors import ConfigurationError

KEY = LaunchKey("0f3a", "train[2024-01-01]", "train.py.0", 0)
texts = st.text(min_size=1, max_size=60)
keys = st.builds(LaunchKey, texts, texts, texts, st.integers(0, 99))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(LaunchKey)])
def test_every_part_of_a_key_makes_another_job_and_another_folder(field: str) -> None:
    other = dataclasses.replace(KEY, **{field: 1 if field == "attempt" else getattr(KEY, field) + "x"})
    assert other.job_name != KEY.job_name
    assert other.folder != KEY.folder


@given(keys, keys)
def test_two_keys_share_neither_job_name_nor_folder(one: LaunchKey, two: LaunchKey) -> None:
    assert (one.job_name == two.job_name) == (one.folder == two.folder) == (one == two)


@given(keys)
def test_a_folder_lies_three_levels_below_runs_and_nowhere_else(key: LaunchKey) -> None:
    """Cleaning looks there."""
    parts = key.folder.split("/")
    assert len(parts) == 3
    assert os.path.normpath(key.folder) == key.folder
    assert not any(part.startswith(".") for part in parts)


def test_parts_that_could_run_into_each_other() -> None:
    assert LaunchKey("r", "s", "a.1", 0).folder != LaunchKey("r", "s", "a", 1).folder
    assert LaunchKey("r", "s", "a", 10).folder != LaunchKey("r", "s", "a1", 0).folder
    assert LaunchKey("r/s", "t", "a").folder != LaunchKey("r", "s/t", "a").folder


def test_paths() -> None:
    paths = RunPaths("/base/a b")
    assert paths.file("x") == "/base/a b/x"
    assert (paths.work, paths.context, paths.messages) == (
        "/base/a b/work",
        "/base/a b/context.json",
        "/base/a b/messages.jsonl",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("", "1A", "A-B", "A B", "A=B", "A\n", "é", "A;id", "$A", "a.b", "BASH_FUNC_x%%", "UID", "SHELLOPTS", "PPID"),
        *("DAGSTER_PIPES_CONTEXT", "SLURM_EXPORT_ENV", "DAGSTER_SLURM_JOB_ID", "_ds_job"),
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="environment variable"):
        check_environment({name: "x"})


def test_a_value_that_no_process_can_have() -> None:
    with pytest.raises(ConfigurationError, match="NUL"):
        check_environment({"A": "a\0b"})


def test_what_is_accepted_becomes_text() -> None:
    given: dict[str, object] = {"A": 1, "_b": "", "C9": "x\ny", "DAGSTER_SLURM_MODE": "local"}
    assert check_environment(given) == {  # pyright: ignore[reportArgumentType] - as users write it
        "A": "1",
        "_b": "",
        "C9": "x\ny",
        "DAGSTER_SLURM_MODE": "local",
    }
