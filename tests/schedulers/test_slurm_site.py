"""Reading what a cluster says of itself, as several sites print it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dagster_slurm.cli.doctor import checks
from dagster_slurm.cli.doctor.choice import choose, with_gpu_directive
from dagster_slurm.schedulers.slurm_site import SlurmSite, commands, minutes, parse

CONFIG = (
    "Configuration data as of now\nAccountingStorageEnforce = associations,limits\nSLURM_VERSION           = 24.11.5\n"
)
PARTITIONS = (
    "PartitionName=devel AllowAccounts=ALL AllowQos=ALL Default=YES MaxTime=00:30:00 State=UP\n"
    "PartitionName=gpu AllowAccounts=p1,p2 AllowQos=long,gpu Default=NO MaxTime=1-00:00:00 State=UP\n"
    "PartitionName=old AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=UNLIMITED State=DOWN\n"
)
NODES = (
    "devel|4|64+|256000+|(null)|mixed\ndevel|2|64|256000|(null)|idle~\ngpu|3|128|512000|gpu:a100:4(S:0-1),shard:8|idle"
)
ASSOCIATIONS = "p1||normal,gpu|normal|||||\np2|devel|normal||4|||cpu=8|\n"
QUOTA = (
    "Disk quotas for user me (uid 1000):\n"
    "     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace\n"
    "nas:/home 19000000* 18000000 20000000  6days  99000  90000 100000\n"
)


def site(**changed: str) -> SlurmSite:
    said = {
        "config": CONFIG,
        "partitions": PARTITIONS,
        "nodes": NODES,
        "associations": ASSOCIATIONS,
        "account": "p1\n",
        "qos": "normal|1-00:00:00|20|100|cpu=512\ngpu||||\n",
        "accounting": "",
        "quota": QUOTA,
        **changed,
    }
    assert set(said) == set(commands("me"))
    return parse({name: {"code": 0, "out": text, "err": ""} for name, text in said.items()})


def refused(text: str = "no") -> dict[str, Any]:
    return {"code": 1, "out": "", "err": f"allocation failure: {text}\n"}


def test_partitions() -> None:
    devel, gpu, old = site().partitions
    assert (devel.default, devel.nodes, devel.idle, devel.cpus, devel.memory) == (True, 6, 2, 64, 256000)
    assert (gpu.accounts, gpu.qos, gpu.gpus) == (("p1", "p2"), ("long", "gpu"), ("gpu:a100:4",))
    assert not old.up
    assert site().version == (24, 11)
    assert site().partition() == devel
    first = site(partitions=PARTITIONS.replace("Default=YES", "Default=NO")).partition()
    assert first is not None
    assert first.name == "devel"
    assert site(partitions="").partition() is None


def test_the_default_account_and_a_time_limit_that_the_partition_allows() -> None:
    whole = site()
    choice = choose(whole, whole.partitions[0])
    assert (choice.account, choice.qos, choice.time_limit) == ("p1", None, "00:30:00")
    assert choose(whole, whole.partitions[1]).time_limit == "01:00:00"


def test_a_qos_is_named_where_the_default_does_not_serve() -> None:
    whole = site()
    assert choose(whole, whole.partitions[1]).qos == "gpu"
    assert choose(whole, whole.partitions[1], qos="long").qos == "long"


def test_a_site_that_wants_the_type_of_gpus() -> None:
    whole = site()
    choice = choose(whole, whole.partitions[0])
    assert (choice.gpu_partition, choice.gpu_type) == ("gpu", "a100")
    answers = {
        "gres": refused(),
        "gres typed": refused(),
        "gpus-per-node": refused(),
        "gpus-per-node typed": {"code": 0},
    }
    told = with_gpu_directive(choice, answers)
    assert (told.gpu_directive, told.gpu_needs_type) == ("gpus-per-node", True)
    assert with_gpu_directive(choice, {"gres": refused()}).gpu_directive is None


def test_quotas() -> None:
    assert site().quotas == (("nas:/home", 19000000, 20000000, 99000, 100000),)
    found = checks.quotas(site())
    assert found.level == "note"
    assert "nas:/home: 19.5 GB of 20.5 GB, 99000 of 100000 files" in found.text
    assert checks.quotas(site(quota="")).level == "ok"


def test_limits_are_those_of_account_and_qos() -> None:
    whole = site()
    found = {item.what: item for item in checks.account(whole, choose(whole, whole.partitions[0]))}
    assert found["account"].text == "p1 (your default) (also: p2)"
    assert found["limits"].text == "maxwall 1-00:00:00, maxjobspu 20, maxsubmitpu 100, maxtrespu cpu=512"


def test_nobody_takes_jobs_of_a_stranger() -> None:
    whole = site(associations="")
    (found,) = checks.account(whole, choose(whole, whole.partitions[0]))
    assert found.level == "bad"


@pytest.mark.parametrize(("version", "level"), [("3.6.8", "ok"), ("3.12.1", "ok"), ("2.7.5", "bad")])
def test_python(version: str, level: str) -> None:
    assert checks.python(version, "login1").level == level


@pytest.mark.parametrize(("seconds", "level"), [(0.5, "ok"), (-30, "note"), (400, "bad")])
def test_clocks(seconds: float, level: str) -> None:
    assert checks.clock(seconds, "login1").level == level


def test_an_old_slurm_and_none() -> None:
    assert checks.slurm(site(config="SLURM_VERSION = 20.11.9\n"))[0].level == "note"
    answers: dict[str, Any] = {name: {"code": 127, "out": "", "err": "not found"} for name in commands("me")}
    assert [item.level for item in checks.slurm(parse(answers))] == ["bad"]


def test_a_full_disk() -> None:
    facts = {"mount": "/home", "kind": "nfs4", "free": 10**9, "files": 0, "writable": True}
    assert checks.folder("home", "/home/me", facts).level == "note"
    assert checks.folder("home", "/home/me", {**facts, "writable": False}).level == "bad"
    assert checks.folder("home", "/home/me", {**facts, "free": 10**12}).level == "ok"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30:00", 30), ("1-12:00:00", 2160), ("01:00:00", 60), ("UNLIMITED", math.inf), ("", math.inf)],
)
def test_minutes(text: str, expected: float) -> None:
    assert minutes(text) == expected
