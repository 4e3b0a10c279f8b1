"""The command line tool. It starts quickly: Dagster is not imported here."""

from __future__ import annotations

import sys

import click

from dagster_slurm.cli.dashboard import dashboard
from dagster_slurm.cli.env import env
from dagster_slurm.cli.login import login, logout
from dagster_slurm.errors import DagsterSlurmError


class _Group(click.Group):
    """Shows our errors as sentences, not as tracebacks."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except DagsterSlurmError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group)
@click.version_option(package_name="dagster-slurm")
def main() -> None:
    """Run Dagster assets on Slurm clusters."""


main.add_command(dashboard)
main.add_command(env)
main.add_command(login)
main.add_command(logout)
