"""The command line tool. It starts quickly: a command's module is loaded when it is called, and Dagster never."""

from __future__ import annotations

import sys
from importlib import import_module

import click

#: where each command lives, and what the list of commands says of it: read without loading any
_COMMANDS = {
    "cancel": ("cancel", "Cancel a job, or all jobs of a Dagster run."),
    "completion": ("completion", "Print what makes a shell complete our commands."),
    "dashboard": ("dashboard", "Open a tunnel to the dashboard of a running Ray or Spark job."),
    "doctor": ("doctor.command", "Check all that runs on a host need, and write the settings that fit."),
    "env": ("env", "Python environments on a cluster."),
    "init": ("init", "Add a resource and an example asset to a project."),
    "jobs": ("jobs", "Show what waits and runs, and for which asset."),
    "login": ("login", "Open the shared connection to a host in this terminal."),
    "logout": ("login", "Close the connection that login opened."),
    "logs": ("logs", "Show what a job printed."),
    "runs": ("runs", "Run directories on a cluster."),
    "session": ("session", "Sessions on a cluster: allocations that assets share."),
    "why": ("why", "Say in words why a job does not start."),
}


class _Group(click.Group):
    """Loads commands lazily, and shows our errors as sentences, not as tracebacks."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the names."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - see above
        """Return a command."""
        if cmd_name not in _COMMANDS:
            return None
        return getattr(import_module(f"{__name__}.{_COMMANDS[cmd_name][0]}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - see above
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in sorted(_COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        from dagster_slurm.errors import DagsterSlurmError  # noqa: PLC0415 - help needs none

        try:
            return super().invoke(ctx)
        except DagsterSlurmError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group)
@click.version_option(package_name="dagster-slurm")
def main() -> None:
    """Run Dagster assets on Slurm clusters."""
