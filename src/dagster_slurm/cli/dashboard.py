"""``dagster-slurm dashboard JOB``: a tunnel to the dashboard of a running Ray or Spark job."""

from __future__ import annotations

import click

from dagster_slurm.cli.place import complete_host, said
from dagster_slurm.engine.tunnel import Tunnel
from dagster_slurm.errors import ConfigurationError
from dagster_slurm.transport.local import LocalTransport
from dagster_slurm.transport.ssh.transport import SSHTransport


@click.command()
@click.argument("job")
@click.option(
    "-H",
    "--host",
    default=None,
    help='The cluster: a name, user@host, or an alias of ~/.ssh/config; "here" is a login node, "local" is local mode. '
    "Else the profile or the environment says.",
    shell_complete=complete_host,
)
@click.option("--profile", default=None, help="A site profile.")
@click.option("--port", type=int, default=0, help="Port on this machine; else a free one.")
def dashboard(job: str, host: str | None, profile: str | None, port: int) -> None:
    """Open a tunnel to the dashboard of JOB until Ctrl-C.

    JOB is the id of a running job, or a run directory on the cluster; in local mode always the latter. The way leads
    through the login node, and from there by ssh to the job's node, or through a step of the job.
    """
    settings, _ = said(host, profile)
    transport = LocalTransport() if settings is None else SSHTransport(settings)
    try:
        tunnel = Tunnel(transport, job, port)
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
