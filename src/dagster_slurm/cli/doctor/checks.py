"""The checks: from what was seen to one line each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_slurm.cli.doctor.choice import Choice
from dagster_slurm.cli.doctor.finding import Finding
from dagster_slurm.schedulers.slurm_site import Partition, SlurmSite

#: what is supported
_OLDEST = (22, 5)
#: less free space than this is worth a word, in bytes
_SCARCE = 5 * 2**30
_SCARCE_FILES = 20_000
#: clocks that differ by more confuse times in logs; Slurm's own authentication bears five minutes
_SKEW, _SKEW_BAD = 2.0, 240.0
_OLDEST_PYTHON = (3, 6)


def python(version: str, host: str) -> Finding:
    """Check the Python of the login node."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_PYTHON:
        remedy = "Name a newer one: --remote-python, then remote_python= in SlurmResource."
        return Finding("python3", "bad", f"{version} on {host}: 3.6 or newer is needed", remedy)
    return Finding("python3", "ok", f"{version} on {host}")


def clock(seconds: float, where: str) -> Finding:
    """Check how far a clock is off ours, in seconds."""
    text = f"that of {where} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    if abs(seconds) <= _SKEW:
        return Finding("clock", "ok", f"that of {where} agrees with this machine's")
    remedy = "Run NTP here (`timedatectl`); times in logs and metadata differ by as much."
    return Finding("clock", "bad" if abs(seconds) > _SKEW_BAD else "note", text, remedy)


def slurm(site: SlurmSite) -> list[Finding]:
    """Check version and accounting."""
    if not site.config:
        said = site.errors.get("config", "")
        remedy = "Slurm's commands must be on the PATH of a login shell there. Is this a login node of the cluster?"
        return [Finding("Slurm", "bad", f"scontrol does not answer: {said}", remedy)]
    version = site.config.get("SLURM_VERSION", "?")
    text = f"{version}, cluster {site.config.get('ClusterName', '?')}"
    if site.version < _OLDEST:
        found = [Finding("Slurm", "note", f"{text}: older than 22.05", "It is not tested; tell us what fails.")]
    else:
        found = [Finding("Slurm", "ok", text)]
    return [*found, _accounting(site)]


def _accounting(site: SlurmSite) -> Finding:
    if site.accounting:
        enforced = ", ".join(sorted(site.enforced - {"", "none", "(null)"})) or "nothing"
        return Finding("accounting", "ok", f"sacct answers; enforced: {enforced}")
    return Finding(
        "accounting",
        "note",
        f"none ({site.errors.get('accounting', '')})",
        "Nothing to do: runs vouch for themselves. Memory and CPU figures of jobs that were killed are missing.",
    )


def partitions(site: SlurmSite, chosen: Partition | None, asked: str | None) -> Finding:
    """Check that there is a partition to use."""
    names = ", ".join(_partition(item) for item in site.partitions) or "none"
    if chosen is None:
        wanted = f"there is no partition {asked!r}" if asked else "no partition is up"
        return Finding("partitions", "bad", f"{wanted}; there are: {names}", "Name one of them: --partition NAME.")
    if not chosen.up:
        return Finding("partitions", "bad", f"{chosen.name} is not up; there are: {names}", "Name another.")
    more = "" if chosen.default or asked else " (there is no default)"
    return Finding("partitions", "ok", f"{names}; used here: {chosen.name}{more}")


def _partition(item: Partition) -> str:
    facts = [f"{item.nodes} nodes", f"{item.cpus} CPUs", f"{item.memory // 1000} GB"]
    facts += [", ".join(item.gpus)] if item.gpus else []
    facts += [f"up to {item.max_time}"] if item.max_time not in ("", "UNLIMITED") else []
    return f"{item.name} ({', '.join(facts)})"


def account(site: SlurmSite, choice: Choice) -> list[Finding]:
    """Check account, QOS and limits."""
    names = sorted({item.account for item in site.associations})
    if not names:
        if "associations" in site.enforced:
            said = site.errors.get("associations", "sacctmgr lists none for you")
            remedy = "Ask the site to add you to an account: it takes jobs of members only."
            return [Finding("account", "bad", said, remedy)]
        return [Finding("account", "ok", "none is needed")]
    others = f" (also: {', '.join(name for name in names if name != choice.account)})" if len(names) > 1 else ""
    found = [_account(site, choice, names, others)]
    association = next((item for item in site.associations if item.account == choice.account), None)
    if association is None:
        return found
    used = choice.qos or association.default_qos or "the account's default"
    found.append(Finding("QOS", "ok", f"{', '.join(association.qos) or 'none'}; used here: {used}"))
    limits = dict(association.limits)
    row = site.qos.get(used) or (site.qos.get(association.qos[0]) if len(association.qos) == 1 else None)
    limits.update({name: value for name, value in (row or {}).items() if name != "name" and value})
    text = ", ".join(f"{name} {value}" for name, value in limits.items()) or "none of your own"
    return [*found, Finding("limits", "ok", text)]


def _account(site: SlurmSite, choice: Choice, names: list[str], others: str) -> Finding:
    if choice.account not in names:
        return Finding(
            "account", "bad", f"{choice.account} is not yours; yours: {', '.join(names)}", "Name one: --account NAME."
        )
    default = " (your default)" if choice.account == site.default_account else ""
    return Finding("account", "ok", f"{choice.account}{default}{others}")


def judged(choice: Choice, answers: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Say what sbatch thought of requests that it was to judge only."""
    found: list[Finding] = []
    plain = answers["plain"]
    if plain["code"] != 0:
        remedy = "See partition, account and QOS above: --partition, --account and --qos choose others."
        found.append(Finding("plain job", "bad", f"sbatch would refuse it: {_why(plain)}", remedy))
    found.append(_gpus(choice, answers))
    for name, what, without in (
        ("array", "job arrays", "Nothing to do: jobs are submitted one by one."),
        ("heterogeneous", "heterogeneous jobs", "mode='slurm-hetjob' will not work here; use a plain job."),
    ):
        answer = answers[name]
        if answer["code"] == 0:
            found.append(Finding(what, "ok", "allowed"))
        else:
            found.append(Finding(what, "note", f"refused: {_why(answer)}", without))
    return found


def _gpus(choice: Choice, answers: Mapping[str, Mapping[str, Any]]) -> Finding:
    if not choice.gpu_partition:
        return Finding("GPUs", "ok", "no partition has any")
    if choice.gpu_directive is None:
        said = _why(answers["gres"])
        return Finding("GPUs", "note", f"{choice.gpu_partition} refuses them: {said}", "Ask the site how to get them.")
    example = f"{choice.gpu_type}:1" if choice.gpu_needs_type else "1"
    ask = f"gpus_per_node={example!r}" if choice.gpu_needs_type else "gpus_per_node=1"
    return Finding("GPUs", "ok", f"in {choice.gpu_partition}: {ask}, sent as --{choice.gpu_directive}")


def _why(answer: Mapping[str, Any]) -> str:
    lines = [line for line in (str(answer["err"]) + str(answer["out"])).splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: ").removeprefix("error: ").strip() if lines else "no answer"


def folder(what: str, path: str, facts: Mapping[str, Any]) -> Finding:
    """Check a folder."""
    text = f"{path} on {facts['mount']} ({facts['kind']}), {_gigabytes(facts['free'])} free"
    if not facts["writable"]:
        return Finding(what, "bad", f"{path} cannot be written", "Name another folder: --base FOLDER.")
    if facts["free"] < _SCARCE or (facts["files"] and facts["files"] < _SCARCE_FILES):
        files = f", room for {facts['files']} files" if facts["files"] < _SCARCE_FILES else ""
        return Finding(what, "note", f"{text}{files}", "Free some space, or name another folder: --base FOLDER.")
    return Finding(what, "ok", text)


def quotas(site: SlurmSite) -> Finding:
    """Check quotas, where `quota` tells them."""
    if not site.quotas:
        return Finding("quota", "ok", "`quota` tells of none; the site may have a command of its own")
    tight = [name for name, used, most, _, _ in site.quotas if most and used > 0.9 * most]
    tight += [name for name, _, _, used, most in site.quotas if most and used > 0.9 * most]
    text = "; ".join(_quota(*row) for row in site.quotas)
    if tight:
        return Finding(
            "quota", "note", text, f"{', '.join(tight)} is nearly full: free space, or set --base elsewhere."
        )
    return Finding("quota", "ok", text)


def _quota(name: str, used: int, most: int, files: int, most_files: int) -> str:
    space = (
        f"{_gigabytes(used * 1024)} of {_gigabytes(most * 1024)}" if most else f"{_gigabytes(used * 1024)}, no limit"
    )
    return f"{name}: {space}, {files}{f' of {most_files}' if most_files else ''} files"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def node(facts: Mapping[str, Any], seconds: float) -> list[Finding]:
    """Say what the test job saw on its node; ``seconds``: how far its clock is off ours."""
    programs = [str(name) for name in facts["programs"]]
    containers = [name for name in programs if name in ("apptainer", "singularity", "podman", "enroot", "docker")]
    found = [
        Finding("python3 on nodes", "ok", f"{facts['python']} on {facts['node']}"),
        clock(seconds, str(facts["node"])),
        _internet(facts),
        Finding("Java on nodes", "ok", "there")
        if "java" in programs
        else Finding("Java on nodes", "note", "not on PATH", "Spark needs it: prelude=['module load java']."),
        Finding("containers", "ok", ", ".join(containers))
        if containers
        else Finding("containers", "note", "no tool on PATH", "Only CommandPrefix needs one; a module may bring it."),
    ]
    return [item if item.what != "clock" else Finding("clock on nodes", *_rest(item)) for item in found]


def _rest(item: Finding) -> tuple[Any, str, str]:
    return item.level, item.text, item.remedy


def _internet(facts: Mapping[str, Any]) -> Finding:
    if facts["reached"]:
        return Finding("internet on nodes", "ok", f"{facts['node']} reaches {facts['reached'][0]}")
    if facts["proxy"]:
        return Finding("internet on nodes", "ok", f"{facts['node']} has a proxy")
    return Finding(
        "internet on nodes",
        "note",
        f"{facts['node']} reaches nothing outside",
        "Nothing to do for environments, which travel whole; payloads must find their data on the cluster.",
    )
