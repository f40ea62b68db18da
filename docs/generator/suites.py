"""The page of suites, from `bench.toml`: what each examines and mirrors, its grid, and the command that runs it."""

from collections.abc import Mapping

from revbench.bench.config import Axes, Config, Suite
from revbench.docs.generator.markdown import text_table
from revbench.reports.table_formats import escaped
from revbench.reports.units import MISSING

HEADING = """# Suites

A suite is a named grid of cases in `bench.toml`. Every suite here comes with revbench; `--set` replaces an axis,
`--only` and `--limit` choose cases, and a `bench.toml` in your folder replaces the file. An axis that a suite does not
name has the default of a case.
"""
NOT_AXES = ("title", "claim", "mirrors", "models", "passes", "predict")


def suites_page(config: Config) -> str:
    """All suites, in the order of the file, as Markdown."""
    shown = {name: (escaped(suite.title), escaped(suite.mirrors) or MISSING) for name, suite in config.suites.items()}
    overview = text_table(
        ("suite", "shows", "mirrors"), [(f"[{name}](#{anchor(name)})", *texts) for name, texts in shown.items()]
    )
    sections = (_section(name, suite) for name, suite in config.suites.items())
    return "\n\n".join((HEADING.strip(), overview, *sections)) + "\n"


def anchor(name: str) -> str:
    """Where the suite's section begins on the page."""
    return name.lower().replace(" ", "-").replace(".", "")


def commands_of(suite: Suite) -> list[str]:
    """The command that measures the suite, and the one that predicts it, if memory can be predicted."""
    command = f"revbench run --suite {suite.name}"
    return [command, f"{command} --predict"] if "memory" in suite.passes else [command]


def grid_of(suite: Suite) -> Mapping[str, str]:
    """What the suite says beside its texts, by key, as a person writes it; under `predict` what predictions replace."""
    said = suite.model_dump(exclude_unset=True, exclude=set(NOT_AXES))
    grid = {"models": _listed(suite.models), "passes": _listed(suite.passes)}
    grid |= {key: _listed(value) for key, value in said.items()}
    return grid | {f"{key}, predicted": value for key, value in _axes(suite.predict).items()}


def _section(name: str, suite: Suite) -> str:
    mirrors = f"\n\nMirrors {escaped(suite.mirrors)}." if suite.mirrors else ""
    commands = "\n".join(commands_of(suite))
    grid = text_table(("key", "values"), list(grid_of(suite).items()))
    return f"## {name}\n\n**{escaped(suite.title)}.** {escaped(suite.claim)}{mirrors}\n\n```\n{commands}\n```\n\n{grid}"


def _axes(axes: Axes) -> dict[str, str]:
    return {key: _listed(value) for key, value in axes.model_dump(exclude_unset=True).items()}


def _listed(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_listed(each)}" for key, each in value.items())
    if isinstance(value, tuple | list):
        return ("; or " if value and isinstance(value[0], dict) else ", ").join(_listed(each) for each in value)
    return f"`{value}`" if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
