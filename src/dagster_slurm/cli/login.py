"""``dagster-slurm login HOST`` and ``logout HOST``: the connection that all of Dagster's processes share."""

from __future__ import annotations

import click

from dagster_slurm.transport.ssh import login as connection


@click.command()
@click.argument("host")
def login(host: str) -> None:
    """Open the shared connection to HOST in this terminal.

    HOST is what Dagster was told: a name, user@host, or an alias of ~/.ssh/config. One-time codes and passphrases are asked for
    here. Steps that wait for the connection go on.
    """
    settings = connection.settings_for(host)
    connection.login(settings)
    click.echo(f"The connection to {settings.name} is open. Dagster uses it from now on.")


@click.command()
@click.argument("host")
def logout(host: str) -> None:
    """Close the connection to HOST that login opened. Jobs run on."""
    settings = connection.settings_for(host)
    if connection.logout(settings):
        click.echo(f"The connection to {settings.name} is closed.")
    else:
        click.echo(f"No connection of ours to {settings.name} is open.")
