"""The reference of the command line, from the help of the commands themselves."""

import re

import typer
from typer.cli import get_docs_for_click

from revbench.bench.cli import app

NAME = "revbench"


def commands_page() -> str:
    """Every command with its arguments and options, as Markdown."""
    command = typer.main.get_command(app)
    told = get_docs_for_click(obj=command, ctx=typer.Context(command), name=NAME, title="Commands")
    # The list of commands at the top cuts their help short; the headings are the list.
    told = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", told)
    return told.strip() + "\n"
