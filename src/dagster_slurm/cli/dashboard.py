"""``dagster-slurm dashboard JOB``: a tunnel to the dashboard of a running Ray or Spark job."""

from __future__ import annotations

import click

from dagster_slurm.engine.tunnel import Tunnel
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.resources.environment import Variables
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.login import settings_for
from dagster_slurm.transport.ssh.settings import SSHSettings
from dagster_slurm.transport.ssh.transport import SSHTransport
from dagster_slurm.transport.stream import Transport

_HOST = "SLURM_EDGE_NODE_HOST"
_HERE = "here"


@click.command()
@click.argument("job")
@click.option(
    "-H", "--host", default=None, help=f'A name, user@host or alias of ~/.ssh/config; "{_HERE}"; else ${_HOST}.'
)
@click.option("--port", type=int, default=0, help="Port on this machine; else a free one.")
def dashboard(job: str, host: str | None, port: int) -> None:
    """Open a tunnel to the dashboard of JOB, a job's id or a run directory on the cluster, until Ctrl-C.

    The way leads through the login node, and from there by ssh to the job's node, or through a step of the job.
    """
    try:
        tunnel = Tunnel(_transport(host), job, port)
    except OSError as error:
        raise ConfigurationError(f"port {port} of this machine cannot be used: {error.strerror}") from error
    try:
        found = tunnel.dashboard
        click.echo(f"http://127.0.0.1:{tunnel.port} is the dashboard on {found.node} (port {found.port} there).")
        if found.token:
            click.echo(f"If it asks for a token: {found.token}")
        click.echo("Ctrl-C ends the tunnel.")
        click.echo(f"The tunnel ended: {tunnel.serve()}.", err=True)
    finally:
        tunnel.close()


def _transport(host: str | None) -> Transport:
    if host == _HERE:
        return LocalTransport()
    said = Variables("SLURM_EDGE_NODE_")
    if host is not None:
        return SSHTransport(settings_for(host))
    if said.text("HOST") is None:
        raise ConfigurationError("it is not said which cluster is meant", hint=f"Give --host, or set {_HOST}.")
    return SSHTransport(
        SSHSettings(
            host=said.required("HOST"),
            port=said.number("PORT"),
            user=said.text("USER"),
            key_path=said.text("KEY_PATH"),
            password=said.text("PASSWORD"),
            jump_host=said.text("JUMP_HOST"),
            known_hosts_file=said.text("KNOWN_HOSTS_FILE"),
        )
    )
