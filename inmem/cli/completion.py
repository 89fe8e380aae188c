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
    """Print a shell completion script.

    SHELL is bash, zsh or fish. The script completes commands, options, runs and keys; for runs and keys, it reads the
    database. To enable it in every session, add the line below to ~/.bashrc, or to ~/.zshrc with zsh instead of bash.
    For fish, write the output to ~/.config/fish/completions/inmem.fish.
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion script for {shell}")
    click.echo(made(context.find_root().command, {}, "inmem", "_INMEM_COMPLETE").source())
