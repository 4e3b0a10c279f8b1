"""What a Slurm cluster is like, as text: the commands that only look, and what their answers mean. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

_ASSOCIATION = "account partition qos defaultqos maxjobs maxsubmit maxwall maxtres grptres".split()
_QOS = "name maxwall maxjobspu maxsubmitpu maxtrespu".split()
#: sbatch(1): --test-only checks a request and submits nothing
_TEST = ("sbatch", "--test-only", "--wrap=true", "--time=1")


def commands(user: str) -> dict[str, list[str]]:
    """Return what to ask a login node, by name."""
    association = ["sacctmgr", "-n", "-P", "show", "assoc", "where", f"user={user}"]
    return {
        "config": ["scontrol", "show", "config"],
        "partitions": ["scontrol", "show", "partition", "-o"],
        "nodes": ["sinfo", "-h", "-o", "%R|%D|%c|%m|%G|%T"],
        "associations": [*association, f"format={','.join(_ASSOCIATION)}"],
        "account": ["sacctmgr", "-n", "-P", "show", "user", user, "format=defaultaccount"],
        "qos": ["sacctmgr", "-n", "-P", "show", "qos", f"format={','.join(_QOS)}"],
        "accounting": ["sacct", "-n", "-X", "-P", "-S", "now-1hours", "-o", "JobID"],
        "quota": ["quota", "-w"],
    }


#: of these, what every cluster has
ESSENTIAL = ("config", "partitions", "nodes", "associations", "account", "qos", "accounting")


def tries(options: Sequence[str], gpu_options: Sequence[str], gpu: str) -> dict[str, list[str]]:
    """Return requests that sbatch is to judge without submitting, by name.

    Args:
        options: partition, account and QOS as sbatch is told.
        gpu_options: the same, for a partition with GPUs.
        gpu: the type of GPU, or nothing.
    """
    found = {
        "plain": [*_TEST, *options],
        "array": [*_TEST, *options, "--array=0-1"],
        # the second component does not take over the options of the first
        "heterogeneous": [*_TEST, *options, ":", *options, "--time=1"],
    }
    if gpu_options:
        typed = f"{gpu}:1" if gpu else ""
        for name, flag in (("gres", "--gres=gpu:"), ("gpus-per-node", "--gpus-per-node=")):
            found[name] = [*_TEST, *gpu_options, f"{flag}1"]
            if typed:
                found[f"{name} typed"] = [*_TEST, *gpu_options, f"{flag}{typed}"]
    return found


@dataclass(frozen=True)
class Partition:
    """A partition.

    Args:
        name: its name.
        default: jobs go there that name none.
        up: it takes and starts jobs.
        max_time: time limit in Slurm's words.
        default_time: what a job gets that names none.
        accounts: accounts that may use it; empty: all.
        qos: QOS that may be used there; empty: all.
        nodes: how many.
        idle: how many of them are idle.
        cpus: of the largest node.
        memory: of the largest node, in MiB.
        gpus: kinds of GPUs as ``sinfo`` lists them: ``gpu:a100:4``.
    """

    name: str
    default: bool = False
    up: bool = True
    max_time: str = ""
    default_time: str = ""
    accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    nodes: int = 0
    idle: int = 0
    cpus: int = 0
    memory: int = 0
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Association:
    """What one account allows a user: limits in Slurm's words, empty where there is none."""

    account: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str
    limits: Mapping[str, str]


@dataclass(frozen=True)
class SlurmSite:
    """What was found out."""

    config: Mapping[str, str]
    partitions: tuple[Partition, ...]
    associations: tuple[Association, ...]
    default_account: str
    qos: Mapping[str, Mapping[str, str]]
    accounting: bool
    #: user's quotas: file system, KiB used, KiB allowed, files used, files allowed (0: no limit)
    quotas: tuple[tuple[str, int, int, int, int], ...]
    errors: Mapping[str, str]

    @property
    def version(self) -> tuple[int, int]:
        """Slurm's version; (0, 0) if it is not known."""
        match = re.match(r"(\d+)\.(\d+)", self.config.get("SLURM_VERSION", ""))
        return (int(match[1]), int(match[2])) if match else (0, 0)

    @property
    def enforced(self) -> frozenset[str]:
        """What accounting enforces: ``associations``, ``limits``, ``qos``."""
        return frozenset(self.config.get("AccountingStorageEnforce", "").lower().split(","))

    def partition(self, name: str | None = None) -> Partition | None:
        """Return a partition by name; without one, the default, else the first that is up."""
        if name is not None:
            return next((item for item in self.partitions if item.name == name), None)
        usable = [item for item in self.partitions if item.up]
        return next((item for item in usable if item.default), usable[0] if usable else None)


def minutes(time_limit: str) -> float:
    """Return a time limit as Slurm prints it (``1-12:00:00``, ``30:00``) in minutes; endless where there is none."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", time_limit.strip())
    if match is None:
        return math.inf
    days, hours, mins, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + mins + seconds / 60


def parse(answers: Mapping[str, Mapping[str, Any]]) -> SlurmSite:
    """Return what the answers to :func:`commands` say."""
    text = {name: str(answer["out"]) if answer["code"] == 0 else "" for name, answer in answers.items()}
    account = text["account"].split()
    return SlurmSite(
        config=_settings(text["config"]),
        partitions=tuple(_partitions(text["partitions"], text["nodes"])),
        associations=tuple(_associations(text["associations"])),
        default_account=account[0] if account else "",
        qos={row["name"]: row for row in _rows(text["qos"], _QOS)},
        accounting=answers["accounting"]["code"] == 0,
        quotas=tuple(_quotas(text["quota"])),
        errors={name: _said(answer) for name, answer in answers.items() if answer["code"] != 0},
    )


def _said(answer: Mapping[str, Any]) -> str:
    lines = (str(answer["err"]) or str(answer["out"])).strip().splitlines()
    return lines[-1] if lines else "no answer"


def _settings(text: str) -> dict[str, str]:
    """Return ``scontrol show config`` by name."""
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _partitions(text: str, nodes: str) -> list[Partition]:
    found: list[Partition] = []
    for line in text.splitlines():
        fields = {name: value for name, _, value in (word.partition("=") for word in line.split()) if name}
        if "PartitionName" in fields:
            found.append(_with_nodes(fields, [row.split("|") for row in nodes.splitlines()]))
    return found


def _with_nodes(fields: Mapping[str, str], nodes: Sequence[Sequence[str]]) -> Partition:
    name = fields["PartitionName"]
    mine = [row for row in nodes if len(row) > 5 and row[0] == name]
    gpus = {gpu for row in mine for gpu in re.findall(r"gpu(?::[\w.-]+)?:\d+", row[4])}
    return Partition(
        name=name,
        default=fields.get("Default") == "YES",
        up=fields.get("State", "UP") == "UP",
        max_time=fields.get("MaxTime", ""),
        default_time=fields.get("DefaultTime", ""),
        accounts=_names(fields.get("AllowAccounts", "ALL")),
        qos=_names(fields.get("AllowQos", "ALL")),
        nodes=sum(_number(row[1]) for row in mine),
        idle=sum(_number(row[1]) for row in mine if row[5].startswith("idle")),
        cpus=max((_number(row[2]) for row in mine), default=0),
        memory=max((_number(row[3]) for row in mine), default=0),
        gpus=tuple(sorted(gpus)),
    )


def _names(text: str) -> tuple[str, ...]:
    return () if text in ("ALL", "(null)", "N/A") else tuple(text.split(","))


def _number(text: str) -> int:
    """Return the number at the beginning: ``8+`` is at least 8."""
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0


def _associations(text: str) -> list[Association]:
    found: list[Association] = []
    for row in _rows(text, _ASSOCIATION):
        limits = {name: row[name] for name in _ASSOCIATION[4:] if row[name]}
        qos = tuple(name for name in row["qos"].split(",") if name)
        found.append(Association(row["account"], row["partition"], qos, row["defaultqos"], limits))
    return found


def _rows(text: str, names: Sequence[str]) -> list[dict[str, str]]:
    rows = [line.split("|") for line in text.splitlines() if line.strip()]
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _quotas(text: str) -> list[tuple[str, int, int, int, int]]:
    """Read ``quota -w``: file system, blocks (KiB), soft and hard limit, [grace,] files, soft and hard limit."""
    found: list[tuple[str, int, int, int, int]] = []
    for line in text.splitlines():
        words = line.split()
        numbers = [int(word.rstrip("*")) for word in words[1:] if word.rstrip("*").isdigit()]
        if len(numbers) >= 6 and words[0][0] in "/" + ascii_letters:
            found.append((words[0], numbers[0], numbers[2] or numbers[1], numbers[3], numbers[5] or numbers[4]))
    return found
