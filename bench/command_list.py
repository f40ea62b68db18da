"""`revbench list`: suites, models and rules in three tables."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench.catalog import Catalog
from revbench.bench.config import find_config, load_config
from revbench.models.rules import RULES


def list_all(config: Path | None, console: Console) -> None:
    """Prints what can be measured.

    Raises:
        ConfigError: the suite file or a plugin cannot be used.
    """
    path = find_config(config)
    suites = _table(f"Suites ({path})", "suite", "shows", "mirrors")
    for name, suite in load_config(path).suites.items():
        suites.add_row(name, f"{suite.title}. {suite.claim}", suite.mirrors)
    models = _table("Models", "model", "what it is", "compared with")
    for name, entry in Catalog().entries.items():
        models.add_row(name, entry.summary, entry.counterpart or "")
    rules = _table("Rules", "rule", "what it is")
    for name, rule in RULES.items():
        rules.add_row(name, rule.summary)
    for table in (suites, models, rules):
        console.print(table)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(headers[0], no_wrap=True)
    for header in headers[1:]:
        table.add_column(header)
    return table
