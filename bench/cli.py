"""The command line. What it prints goes to the terminal; what it measures goes to the run folder."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import revbench
from revbench.bench import cli_gate, cli_memory, cli_reports
from revbench.bench.errors import EXIT_CASE_FAILED, EXIT_OK, RevbenchError
from revbench.bench.terminal import console, parse_report_formats

app = typer.Typer(
    name="revbench",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Measures what training a spiking neural network costs in memory and time, "
        "and how that cost grows with depth and timesteps.\n\n"
        "Begin with `revbench run --suite depth-scaling`; `revbench list` shows what can be measured."
    ),
    epilog=(
        "Exit codes: 0 fine, 2 wrong usage or folder, 3 some cases failed (their rows say why), 130 interrupted; "
        "`revbench check --help` tells of more."
    ),
)

EXIT_INTERRUPTED = 130
FORMATS_HELP = (
    "Formats of figures (png, svg, pdf) and of tables (md, latex), and html: one page with sortable tables and "
    "interactive charts, which needs no network. CSV is always written."
)


def main() -> None:
    """Entry point: errors that a user can mend become one sentence and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal does not know must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except RevbenchError as error:
        console(stderr=True).print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns the one into the other
        if isinstance(end, SystemExit) and end.code != EXIT_INTERRUPTED:
            raise
        console(stderr=True).print("interrupted; the same command goes on from here")
        sys.exit(EXIT_INTERRUPTED)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"revbench {revbench.__version__}")
        raise typer.Exit(EXIT_OK)


@app.command()
def run(
    suite: Annotated[str, typer.Option("--suite", "-s", help="Name of a suite of bench.toml; see `revbench list`.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE[,VALUE]", help="Replace an axis: `--set depth=1,2,4`. Repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="TEXT|KEY=VALUE", help="Measure only matching cases. Repeatable: all must hold."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Measure only the first so many cases.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; auto is CUDA where there is one.")] = "auto",
    predict: Annotated[
        bool,
        typer.Option("--predict", help="Trace fake tensors instead: exact bytes, no arithmetic, no GPU, paper sizes."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cases with the bytes that each will need, and stop.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/SUITE (or runs/SUITE-predicted).")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set earlier records of the folder aside and measure everything again.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Measure again what failed before.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights for the energy of one model, instead of training it: a state_dict (.safetensors or torch).",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Energy: an operator that no rule counts is an error, not a lower bound.")
    ] = False,
    formats: Annotated[str, typer.Option("--format", help=FORMATS_HELP)] = "png,svg",
    config: Annotated[
        Path | None, typer.Option(help="Suite file; by default ./bench.toml, else the one that comes with revbench.")
    ] = None,
) -> None:
    """Measure a suite: one fresh process a case, records as they come, then CSV, figures and a table.

    Interrupted at any moment, the same command goes on where it was.

    Examples: `revbench run --suite depth-scaling`, `revbench run -s cifar --predict`,
    `revbench run -s depth-scaling --set depth=1,2,4 --set batch_size=8 --device cpu`.
    """
    from revbench.bench import command_run  # noqa: PLC0415 - imports torch

    failed = command_run.run(
        command_run.Request(
            suite=suite,
            overrides=tuple(overrides or ()),
            only=tuple(only or ()),
            limit=limit,
            device=device,
            predict=predict,
            dry_run=dry_run,
            out=out,
            fresh=fresh,
            retry=retry,
            formats=parse_report_formats(formats),
            config=config,
            checkpoint=checkpoint,
            strict=strict,
        ),
        console(),
    )
    raise typer.Exit(EXIT_CASE_FAILED if failed else EXIT_OK)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/depth-scaling.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; by default into the run folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help=FORMATS_HELP)] = "png,svg",
) -> None:
    """Draw tables and figures again from the records of a run, on any machine."""
    from revbench.bench import command_run  # noqa: PLC0415

    command_run.report(folder, out or folder, parse_report_formats(formats), console())


@app.command()
def summary(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a model; see `revbench list`; or package.module:function.")
    ],
    timesteps: cli_memory.Timesteps = 4,
    depth: cli_memory.Depth = None,
    width: cli_memory.Width = None,
    batch_size: Annotated[
        int, typer.Option(help="Images of the pass; it shows in the shapes, all counts are for one image.")
    ] = 1,
    levels: Annotated[
        int | None,
        typer.Option(help="Show parts of parts down to this level, 99 for all; by default one line a block."),
    ] = None,
    input_shape: cli_memory.Input = None,
) -> None:
    """Show the layers of a model: shapes, parameters, neurons, multiply-accumulates, and what is recomputed.

    Nothing is computed and no memory is needed: one forward pass of fake tensors tells all, for any size.

    Examples: `revbench summary revsresnet37`, `revbench summary msresnet --depth 2 --levels 99`.
    """
    from revbench.bench import command_summary  # noqa: PLC0415 - imports torch

    command_summary.show(
        command_summary.Request(
            model=model,
            timesteps=timesteps,
            depth=depth,
            width=width,
            batch_size=batch_size,
            levels=levels,
            input_shape=input_shape,
        ),
        console(),
    )


@app.command("list")
def list_all(
    suites: Annotated[bool, typer.Option("--suites", help="Show the suites.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Show the models.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Show the rules.")] = False,
    suite: Annotated[list[str] | None, typer.Option("--suite", "-s", help="Show this suite alone. Repeatable.")] = None,
    costs: Annotated[
        bool,
        typer.Option(
            "--costs",
            help="Estimate memory and time of suites that were not run here: a few minutes for all, seconds for one.",
        ),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Suite file; as for `revbench run`.")] = None,
) -> None:
    """Show the suites, the models and the rules that there are, plugins included.

    A suite is shown with the number of its cases and passes, and with the memory and time that it took in runs/SUITE,
    if it was run there on this machine. With `--costs` the others are estimated: the largest case of each model is
    traced on fake tensors for its bytes and operations, and a quick run tells how fast this machine is. Estimated times
    tell minutes from hours, no more.

    Examples: `revbench list --suites`, `revbench list --costs --suite cifar`.
    """
    from revbench.bench import command_list  # noqa: PLC0415

    tables = [name for name, is_wanted in (("suites", suites), ("models", models), ("rules", rules)) if is_wanted]
    command_list.list_all(
        command_list.Request(tables=tables, suites=tuple(suite or ()), costs=costs, config=config), console()
    )


cli_gate.register(app)
cli_memory.register(app)
cli_reports.register(app)
