"""``dagster-slurm login HOST`` and ``logout HOST``: the connection that all of Dagster's processes share."""

from __future__ import annotations

import click

from dagster_slurm.transport.ssh.login import login as open_connection
from dagster_slurm.transport.ssh.login import logout as close_connection
from dagster_slurm.transport.ssh.login import settings_for


@click.command()
@click.argument("host")
def login(host: str) -> None:
    """Open the shared connection to HOST in this terminal.

    HOST is what Dagster was told: a name, user@host, or an alias of ~/.ssh/config. One-time codes and
    passphrases are asked for here. Steps that wait for the connection go on.
    """
    settings = settings_for(host)
    open_connection(settings)
    click.echo(f"The connection to {settings.name} is open. Dagster uses it from now on.")


@click.command()
@click.argument("host")
def logout(host: str) -> None:
    """Close the connection to HOST that login opened. Jobs run on."""
    settings = settings_for(host)
    if close_connection(settings):
        click.echo(f"The connection to {settings.name} is closed.")
    else:
        click.echo(f"No connection of ours to {settings.name} is open.")
