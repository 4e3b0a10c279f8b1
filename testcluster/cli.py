"""The command line of `python3 -m testcluster`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence

from testcluster.cluster import Cluster, down, load, up
from testcluster.execute import ClusterError
from testcluster.options import ClusterOptions

_USAGE = """\
cluster {name} is up ({seconds:.1f} s); its files are in {state}
  log in     ssh -F {config} {alias}
  host       {host}, port {port}, user {user}, password {password}
  key        {key}
  tests      eval "$(python3 -m testcluster env --name {name})"
  as root    export SLURM_CONF={slurm_conf}
  remove     python3 -m testcluster down --name {name}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given)
    except (ClusterError, ValueError) as error:
        print(f"testcluster: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m testcluster", description="A real Slurm on this host, for tests.")
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    up_parser = _command(add, "up", _up, "start the cluster, or what is missing of it")
    _add_options(up_parser)
    _command(add, "down", _down, "remove the cluster and all its traces")
    _command(add, "status", _status, "which daemons run, and what Slurm says of its nodes")
    _command(add, "env", _env, "print variables for eval")
    ssh = _command(add, "ssh", _ssh, "log in, or run a command on the login node")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    for verb in ("start", "stop"):
        daemon = _command(add, verb, _daemon, f"{verb} one daemon")
        daemon.add_argument("daemon")
        daemon.set_defaults(verb=verb)
    return parser


def _command(
    add: Callable[..., argparse.ArgumentParser], name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = add(name, help=text)
    parser.add_argument("--name", default="dev", help="the cluster's name (default: dev)")
    parser.set_defaults(run=run)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """One flag per field of ClusterOptions; none has a default, so that `up` knows what was asked for."""
    parser.add_argument("--options", help="all options as JSON; nothing else counts then")
    for field in dataclasses.fields(ClusterOptions):
        flag, text = f"--{field.name.replace('_', '-')}", field.metadata.get("help", "")
        if field.name == "name":
            continue
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif isinstance(field.default, tuple):
            parser.add_argument(flag, action="append", metavar="LINE", help=text)
        else:
            kind, choices = (int if isinstance(field.default, int) else str), field.metadata.get("choices")
            parser.add_argument(flag, type=kind, choices=choices, help=f"{text} (default: {field.default})")


def _wanted(given: argparse.Namespace) -> ClusterOptions:
    if given.options:
        return ClusterOptions.from_json(given.options)
    values = {field.name: getattr(given, field.name) for field in dataclasses.fields(ClusterOptions)}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return ClusterOptions(**{key: value for key, value in values.items() if value is not None})


def _up(given: argparse.Namespace) -> int:
    started = time.monotonic()
    cluster = up(_wanted(given))
    text = _USAGE.format(
        name=cluster.name,
        seconds=time.monotonic() - started,
        state=cluster.state_dir,
        config=cluster.ssh_config,
        alias=cluster.ssh_alias,
        host=cluster.ssh_host,
        port=cluster.ssh_port,
        user=cluster.user,
        password=cluster.password,
        key=cluster.key_path,
        slurm_conf=cluster.slurm_conf,
    )
    print(text)
    return 0


def _down(given: argparse.Namespace) -> int:
    down(given.name)
    return 0


def _status(given: argparse.Namespace) -> int:
    cluster = load(given.name)
    running = cluster.running()
    for name, alive in running.items():
        print(f"{name:15} {'running' if alive else 'STOPPED'}")
    if not all(running.values()):
        return 1
    print(cluster.admin(["sinfo"]), end="")
    return 0


def _env(given: argparse.Namespace) -> int:
    for name, value in load(given.name).client_environment.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _ssh(given: argparse.Namespace) -> int:
    cluster = load(given.name)
    sys.stdout.flush()
    os.execvp("ssh", ["ssh", "-F", str(cluster.ssh_config), cluster.ssh_alias, *given.command])


def _daemon(given: argparse.Namespace) -> int:
    cluster: Cluster = load(given.name)
    (cluster.start if given.verb == "start" else cluster.stop)(given.daemon)
    return 0
