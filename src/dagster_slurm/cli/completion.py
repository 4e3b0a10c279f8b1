"""``dagster-slurm completion``: what a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_PROGRAM = "dagster-slurm"
_VARIABLE = "_DAGSTER_SLURM_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete our commands: eval "$(dagster-slurm completion bash)" in ~/.bashrc."""
    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"This version of click knows no {shell}.")
    source = kind(root, {}, _PROGRAM, _VARIABLE)
    click.echo(source.source_template % source.source_vars())
