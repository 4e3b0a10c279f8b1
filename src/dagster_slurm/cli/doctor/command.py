"""``dagster-slurm doctor HOST``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from dagster_slurm.cli.doctor import checks, profile, trial
from dagster_slurm.cli.doctor.choice import Choice, choose, with_gpu_directive
from dagster_slurm.cli.doctor.connection import check as check_connection
from dagster_slurm.cli.doctor.finding import Finding
from dagster_slurm.cli.place import HERE, complete_host, to_target
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import ConfigurationError, DagsterSlurmError
from dagster_slurm.schedulers import slurm_site
from dagster_slurm.transport.ssh.login import settings_for
from dagster_slurm.transport.ssh.settings import SSHSettings

#: where runs may go, the best first; those that the site does not know are left out
_BASES = ("$SCRATCH/dagster-slurm", "$WORK/dagster-slurm", "~/dagster-slurm")
_COLORS = {"ok": "green", "note": "yellow", "bad": "red"}


class _Stop(Exception):
    """What is in the way keeps us from looking further."""


class Doctor:
    """One examination.

    Args:
        settings: how to reach the host; None: it is here.
        quiet: say nothing while it goes on.
    """

    def __init__(self, settings: SSHSettings | None, *, quiet: bool) -> None:
        self.settings = settings
        self.quiet = quiet
        self.findings: list[Finding] = []
        self.fields: dict[str, Any] = {}
        self.site: dict[str, str] = {}

    def see(self, *findings: Finding) -> None:
        """Take down findings, and show them."""
        self.findings += findings
        for item in findings if not self.quiet else ():
            click.echo(f"{click.style(f'{item.level:<4}', fg=_COLORS[item.level])}  {item.what:<19} {item.text}")
            if item.remedy:
                click.echo(f"{'':<26}{item.remedy}")

    def see_or_stop(self, findings: Iterable[Finding]) -> None:
        """Take down findings; a bad one ends the examination."""
        found = list(findings)
        self.see(*found)
        if any(item.level == "bad" for item in found):
            raise _Stop

    def tell(self, text: str) -> None:
        """Say what is waited for."""
        if not self.quiet:
            click.echo(f"{'':<26}{text} ...", err=True)

    @property
    def well(self) -> bool:
        """Whether runs will work."""
        return all(item.level != "bad" for item in self.findings)


@dataclass(frozen=True)
class Asked:
    """What was said on the command line; None leaves it to us. ``wait``: seconds for the test job; None: no job."""

    partition: str | None
    account: str | None
    qos: str | None
    base: str | None
    wait: float | None


@click.command()
@click.argument("host", shell_complete=complete_host)
@click.option("-F", "--ssh-config", default=None, help="Instead of ~/.ssh/config, as in ssh -F.")
@click.option("--partition", default=None, help="The partition to use, instead of the default one.")
@click.option("--account", default=None, help="The account to charge, instead of your default one.")
@click.option("--qos", default=None, help="The quality of service.")
@click.option("--base", default=None, help="The folder for runs, on a file system that all nodes share.")
@click.option("--remote-python", default="python3", show_default=True, help="Python 3.6 or newer there.")
@click.option("--wait", default=300.0, show_default=True, help="Seconds to wait for the test job to start.")
@click.option("--no-job", is_flag=True, help="Submit no test job.")
@click.option("--profile", "path", default=None, help="The file to write; HOST.yaml if not given, - for none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(
    *,
    host: str,
    ssh_config: str | None,
    partition: str | None,
    account: str | None,
    qos: str | None,
    base: str | None,
    remote_python: str,
    wait: float,
    no_job: bool,
    path: str | None,
    as_json: bool,
) -> None:
    """Check all that runs on HOST need, and write the settings that fit.

    HOST is a name, user@host, or an alias of ~/.ssh/config; "here" is this machine. Nothing is changed there, except
    that the folder for runs is made and one job of a minute is submitted. Ends with 1 if runs cannot work.
    """
    settings = None if host == HERE else replace(settings_for(host), remote_python=remote_python)
    if settings is not None and ssh_config is not None:
        settings = replace(settings, config_file=str(Path(ssh_config).expanduser().resolve()))
    one = Doctor(settings, quiet=as_json)
    try:
        if settings is not None:
            one.see_or_stop(check_connection(settings))
        _examine(one, Asked(partition, account, qos, base, None if no_job else wait))
    except _Stop:
        pass
    except DagsterSlurmError as error:
        one.see(Finding("login node", "bad", error.message, error.hint or ""))
    _end(one, host, path, as_json=as_json)


def _examine(one: Doctor, asked: Asked) -> None:
    base = asked.base
    target = to_target(one.settings, base or _BASES[-1])
    try:
        hello = target.host.hello(target.base)
        one.see_or_stop([checks.python(hello["python"], hello["host"])])
        choice, free = _slurm(one, target, str(hello["user"]), asked)
        place = _folders(one, target, base)
        python = one.settings.remote_python if one.settings else "python3"
        one.fields = profile.settings(one.settings, choice, base or place[0], python)
        if asked.wait is not None and one.well:
            result = trial.run(target, place[1], choice, python=python, patience=asked.wait, tell=one.tell)
            one.see(result.finding)
            if result.facts is not None:
                one.see(*checks.node(result.facts, result.skew))
        one.site["nodes idle"] = str(free)
    finally:
        target.host.close()


def _slurm(one: Doctor, target: Target, user: str, asked: Asked) -> tuple[Choice, int]:
    """Ask Slurm; return what jobs are to ask for, and how many nodes are idle."""
    begun = time.time()
    answer, _ = target.host.request("survey", commands=slurm_site.commands(user), essential=slurm_site.ESSENTIAL)
    # the answer tells the time at which it began
    one.see(checks.clock(float(answer["time"]) - begun, "the login node"))
    site = slurm_site.parse(answer["commands"])
    one.see_or_stop(checks.slurm(site))
    chosen = site.partition(asked.partition)
    one.see_or_stop([checks.partitions(site, chosen, asked.partition)])
    assert chosen is not None  # noqa: S101 - else it was bad
    choice = choose(site, chosen, asked.account, asked.qos)
    one.see(*checks.account(site, choice))
    gpu_options = choice.options(choice.gpu_partition) if choice.gpu_partition else []
    tries = slurm_site.tries(choice.options(), gpu_options, choice.gpu_type)
    judged: dict[str, Any] = target.host.request("survey", commands=tries, essential=list(tries))[0]["commands"]
    choice = with_gpu_directive(choice, judged)
    one.see(*checks.judged(choice, judged))
    one.see(checks.quotas(site))
    one.site.update(slurm=site.config.get("SLURM_VERSION", "?"), cluster=site.config.get("ClusterName", "?"))
    one.site.update({"max array size": site.config.get("MaxArraySize", "?")})
    one.site.update({"heterogeneous jobs": "yes" if judged["heterogeneous"]["code"] == 0 else "no"})
    return choice, chosen.idle


def _folders(one: Doctor, target: Target, base: str | None) -> tuple[str, Place]:
    """Look at home and the folder for runs; return that as it is to be written, and as the host understands it."""
    wanted = [base] if base else list(_BASES)
    hello, _ = target.host.request("hello", expand=["~", *wanted])
    paths: dict[str, str | None] = hello["paths"]
    if base and paths[base] is None:
        raise ConfigurationError(f"--base {base} has a variable that is not set on {target.host.name}")
    known = {name: path for name in ("~", *wanted) if (path := paths[name])}
    survey, _ = target.host.request("survey", commands={}, folders=sorted(set(known.values())))
    facts: dict[str, dict[str, Any]] = survey["folders"]
    one.see(checks.folder("home", known["~"], facts[known["~"]]))
    chosen = next((name for name in wanted if name in known and facts[known[name]]["writable"]), wanted[-1])
    one.see_or_stop([checks.folder("folder for runs", known[chosen], facts[known[chosen]])])
    return chosen, Place(known[chosen], known[chosen] in hello["late"])


def _end(one: Doctor, host: str, path: str | None, *, as_json: bool) -> None:
    """Leave the settings behind, and say how it stands."""
    written = ""
    if one.fields and one.well and path != "-":
        name = host.rpartition("@")[2].replace("/", "_")
        written = str(Path(path or f"{name}.yaml").expanduser())
        Path(written).write_text(profile.as_yaml(one.fields, one.site), encoding="utf-8")
    if as_json:
        found = [asdict(item) for item in one.findings]
        click.echo(json.dumps({"well": one.well, "findings": found, "slurm": one.fields, "profile": written}, indent=2))
    elif one.well:
        click.echo(f"\n{profile.as_python(one.fields)}")
        if written:
            click.echo(f"The same is in {written}: SlurmResource.from_profile({written!r}).")
    else:
        bad = ", ".join(item.what for item in one.findings if item.level == "bad")
        click.echo(f"\nRuns cannot work yet: {bad}. See the remedies above.")
    if not one.well:
        sys.exit(1)
