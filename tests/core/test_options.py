from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.core.option_names import KNOWN, canonical, suggestion
from dagster_slurm.core.options import from_options, from_requirements
from dagster_slurm.core.resources import Resources
from dagster_slurm.errors import ConfigurationError

HELP = sorted((Path(__file__).parents[1] / "schedulers" / "recorded").glob("*/sbatch.help"))
#: what sbatch offers beside the options of a job
NOT_OF_A_JOB = {"help", "usage", "version", "hetjob"}


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("cpus_per_task", "cpus-per-task"),
        ("--cpus-per-task", "cpus-per-task"),
        ("c", "cpus-per-task"),
        ("-c", "cpus-per-task"),
        ("cpus", "cpus-per-task"),
        ("N", "nodes"),
        ("num_nodes", "nodes"),
        ("memory", "mem"),
        ("t", "time"),
        ("time_limit", "time"),
        ("A", "account"),
        ("C", "constraint"),
        ("w", "nodelist"),
        ("signal_before_timeout", "signal"),
        ("G", "gpus"),
        ("gpus", "gpus"),  # of the whole job, as in sbatch: not those of a node
        ("ntasks_per_socket", "ntasks-per-socket"),
        (" exclusive ", "exclusive"),
    ],
)
def test_names(name: str, option: str) -> None:
    assert canonical(name) == option


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("cpu_per_task", "cpus-per-task"),
        ("partion", "partition"),
        ("times_limit", "time-limit"),
        ("gpu-per-node", "gpus-per-node"),
        ("exclusiv", "exclusive"),
        ("mail_typ", "mail-type"),
        ("constraints", "constraint"),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_named(wrong: str, right: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(wrong))) as caught:
        canonical(wrong)
    assert repr(right) in str(caught.value)


def test_a_name_like_no_other_gets_the_whole_list() -> None:
    with pytest.raises(ConfigurationError, match="cpus-per-task"):
        canonical("zzzzzzzzzzzz")
    assert suggestion("zzzz", frozenset({"b", "a"})) == "Known are: a, b."


@pytest.mark.parametrize(
    "name", "job_name J output o error e chdir D export array a wrap wait W parsable clusters M open-mode".split()
)
def test_what_is_ours_is_refused_with_what_to_use_instead(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be set") as caught:
        canonical(name)
    assert caught.value.hint


@pytest.mark.parametrize("recorded", HELP, ids=lambda path: path.parent.name)
def test_every_option_of_every_recorded_sbatch_is_known_or_refused(recorded: Path) -> None:
    offered = set(re.findall(r"--([a-z][a-z0-9-]+)", recorded.read_text())) - NOT_OF_A_JOB
    assert len(offered) > 80
    unknown: list[str] = []
    for name in offered:
        try:
            canonical(name)
        except ConfigurationError as error:
            if "cannot be set" not in error.message:
                unknown.append(name)
    assert not unknown


def test_nothing_is_known_under_half_a_name() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) for name in KNOWN)


def test_options_become_fields_and_the_rest_stays() -> None:
    asked = from_options({"cpus_per_task": "4", "mem": "8G", "exclusive": True, "gpu_directive": "gres", "qos": None})
    assert asked == Resources(cpus=4, mem="8G", gpu_directive="gres", options={"exclusive": True})
    assert from_options(None) == from_options({}) == Resources()


def test_an_option_that_is_given_under_two_names() -> None:
    with pytest.raises(ConfigurationError, match="--time is given twice"):
        from_options({"time": 5, "time_limit": 6})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"cpus": 8, "gpus": 1, "memory_gb": 32}, Resources(cpus=8, gpus_per_node=1, mem=32 * 1024)),
        ({"memory_gb": 0.5, "gpus": 0, "framework": "ray"}, Resources(mem=512)),
        ({"memory_gb": 0.0001}, Resources(mem=1)),
        ({"memory_gb": "2"}, Resources(mem=2048)),
        ({"nodes": 2, "time_limit": "1:00:00"}, Resources(nodes=2, time_limit="1:00:00")),
        (None, Resources()),
    ],
)
def test_requirements(wanted: dict[str, Any] | None, expected: Resources) -> None:
    assert from_requirements(wanted) == expected


@pytest.mark.parametrize(("wanted", "named"), [({"cpu": 8}, "'cpus'"), ({"memory_gb": "much"}, "memory_gb='much'")])
def test_requirements_that_are_not_understood(wanted: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        from_requirements(wanted)
