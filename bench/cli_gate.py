"""The commands of the regression gate: `revbench baseline write` and `revbench check`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from revbench.bench.terminal import console

baseline = typer.Typer(no_args_is_help=True, help="Keep what training steps need in a file beside the code.")

_ONLY = typer.Option("--only", metavar="TEXT|KEY=VALUE", help="Only matching cases. Repeatable: all must hold.")
_CONFIG = typer.Option(help="Suite file; by default ./bench.toml, else the one that comes with revbench.")


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.add_typer(baseline, name="baseline")
    app.command()(check)


@baseline.callback()
def _baseline() -> None:
    """Keep what training steps need in a file beside the code."""


@baseline.command("write")
def write(
    suite: Annotated[list[str], typer.Option("--suite", "-s", help="Name of a suite of bench.toml. Repeatable.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE[,VALUE]", help="Replace an axis: `--set depth=1,2`. Repeatable."),
    ] = None,
    only: Annotated[list[str] | None, _ONLY] = None,
    device: Annotated[
        str, typer.Option(help="fake (traced without numbers, needs no GPU), cpu, cuda or auto.")
    ] = "fake",
    out: Annotated[Path, typer.Option(help="The file.")] = Path("baseline.json"),
    config: Annotated[Path | None, _CONFIG] = None,
) -> None:
    """Write the peaks of the cases of a suite, with the layers that hold them, for `revbench check`.

    Commit the file. A rule that does not apply to a model is kept as such; a case that fails keeps the file unwritten.

    Example: `revbench baseline write --suite smoke`.
    """
    from revbench.bench import command_check  # noqa: PLC0415 - imports torch

    request = command_check.WriteRequest(
        suites=tuple(suite),
        overrides=tuple(overrides or ()),
        only=tuple(only or ()),
        device=device,
        out=out,
        config=config,
    )
    raise typer.Exit(command_check.write_baseline(request, console()))


def check(
    path: Annotated[Path, typer.Option("--baseline", help="What `revbench baseline write` wrote.")] = Path(
        "baseline.json"
    ),
    only: Annotated[list[str] | None, _ONLY] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on improvements that are not yet recorded.")] = False,
    across_versions: Annotated[
        bool, typer.Option("--across-versions", help="Compare with a baseline of another torch, or another machine.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="fake, cpu, cuda or auto; by default the baseline's.")] = None,
    time_against: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Compare step times too, with the version that `pip install --no-deps --target FOLDER` left there.",
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as Markdown.")] = None,
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github", help="Also as annotations; by default in GitHub Actions.", show_default=False
        ),
    ] = None,
    config: Annotated[Path | None, _CONFIG] = None,
) -> None:
    """Trace the cases of a baseline again and compare: a training step may not need more memory than it did.

    Without a GPU and to the byte. What grew is shown by layer, timestep and kind.

    Exit codes: 0 fine; 1 a number grew beyond its tolerance; 2 wrong usage or no baseline; 3 a case failed, or is
    unsupported now; 4 nothing was compared (another torch, an empty baseline); with `--strict` 5 an improvement is not
    recorded. Where several apply: 2, 1, 3, 4, 5.
    """
    from revbench.bench import command_check  # noqa: PLC0415 - imports torch

    request = command_check.CheckRequest(
        baseline=path,
        only=tuple(only or ()),
        strict=strict,
        across_versions=across_versions,
        device=device,
        github=os.environ.get("GITHUB_ACTIONS") == "true" if github is None else github,
        time_against=time_against,
        junit=junit,
        markdown=markdown,
        config=config,
    )
    raise typer.Exit(command_check.check(request, console()))
