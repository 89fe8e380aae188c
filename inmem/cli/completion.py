"""`inmem completion`: the shell code that completes commands, options, and the names of runs and keys."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from inmem.cli.examples import example

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=example('eval "$(inmem completion bash)"'))
@click.argument("shell", metavar="SHELL", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete inmem's commands.

    SHELL is bash, zsh or fish. Commands, options, runs and keys are completed; for the latter the database is read.
    To have it in every session, put the line of the example into ~/.bashrc or ~/.zshrc; for fish, write the output
    to ~/.config/fish/completions/inmem.fish.
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(made(context.find_root().command, {}, "inmem", "_INMEM_COMPLETE").source())
