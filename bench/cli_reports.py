"""The command that reads runs and measures nothing: `revbench compare`."""

from pathlib import Path
from typing import Annotated

import typer

from revbench.bench.terminal import console


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command()(compare)


def compare(
    before: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder, such as runs/depth-scaling.")],
    after: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another run folder.")],
) -> None:
    """Show what changed from one run to another: every number that is not the same, the better one marked.

    In parentheses stands how many times worse the other is. Cases of one run alone are listed, and what differs
    between the machines and the software. It judges nothing: `revbench check` does.

    Example: `revbench compare runs/depth-scaling runs/depth-scaling-new`.
    """
    from revbench.bench import command_compare  # noqa: PLC0415 - imports torch

    command_compare.compare(before, after, console())
