"""The command line. What it prints goes to the terminal; what it measures goes to the run folder."""

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import revbench
from revbench.bench.errors import EXIT_CASE_FAILED, EXIT_OK, ConfigError, RevbenchError, nearest

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
    epilog="Exit codes: 0 fine, 2 wrong usage or folder, 3 some cases failed (their rows say why), 130 interrupted.",
)

FORMATS = ("png", "svg", "pdf")
EXIT_INTERRUPTED = 130


def main() -> None:
    """Entry point: errors that a user can mend become one sentence and an exit code."""
    # Threads that wait for each other in a busy loop stall as soon as another process wants their cores. A step of
    # RevSResNet on 2 cores took 0.3 s alone; beside a busy process 1.0 to 1.5 s busy waiting and 0.5 s asleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal does not know must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except RevbenchError as error:
        _console(stderr=True).print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns the one into the other
        if isinstance(end, SystemExit) and end.code != EXIT_INTERRUPTED:
            raise
        _console(stderr=True).print("interrupted; the same command goes on from here")
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
    formats: Annotated[str, typer.Option("--format", help="Formats of the figures: png, svg, pdf.")] = "png,svg",
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
            formats=_parse_formats(formats),
            config=config,
        ),
        _console(),
    )
    raise typer.Exit(EXIT_CASE_FAILED if failed else EXIT_OK)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/depth-scaling.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; by default into the run folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="Formats of the figures: png, svg, pdf.")] = "png,svg",
) -> None:
    """Draw tables and figures again from the records of a run, on any machine."""
    from revbench.bench import command_run  # noqa: PLC0415

    command_run.report(folder, out or folder, _parse_formats(formats), _console())


@app.command()
def summary(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model; see `revbench list`.")],
    timesteps: Annotated[int, typer.Option("--timesteps", "-T", help="T, the length of the simulation.")] = 4,
    depth: Annotated[
        int | None, typer.Option(help="Of a family, which needs one: its blocks, or those of each stage.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Of a family: the width in its first stage.")] = None,
    batch_size: Annotated[
        int, typer.Option(help="Images of the pass; it shows in the shapes, all counts are for one image.")
    ] = 1,
    levels: Annotated[
        int | None,
        typer.Option(help="Show parts of parts down to this level, 99 for all; by default one line a block."),
    ] = None,
) -> None:
    """Show the layers of a model: shapes, parameters, neurons, multiply-accumulates, and what is recomputed.

    Nothing is computed and no memory is needed: one forward pass of fake tensors tells all, for any size.

    Examples: `revbench summary revsresnet37`, `revbench summary msresnet --depth 2 --levels 99`.
    """
    from revbench.bench import command_summary  # noqa: PLC0415 - imports torch

    command_summary.show(
        command_summary.Request(
            model=model, timesteps=timesteps, depth=depth, width=width, batch_size=batch_size, levels=levels
        ),
        _console(),
    )


@app.command()
def explain(
    model: Annotated[str, typer.Option("--model", "-m", help="Name of a model; see `revbench list`.")],
    rule: Annotated[
        str | None, typer.Option(help="How gradients are obtained: bptt (the default), sltt, ottt_a, ...")
    ] = None,
    timesteps: Annotated[int, typer.Option("--timesteps", "-T", help="T, the length of the simulation.")] = 4,
    depth: Annotated[
        int | None, typer.Option(help="Of a family, which needs one: its blocks, or those of each stage.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Of a family: the width in its first stage.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images of a training step.")] = 32,
    dtype: Annotated[
        str | None, typer.Option(help="float32 (the default), float64; bfloat16 and float16 under autocast.")
    ] = None,
    activations: Annotated[
        str | None, typer.Option(help="recomputed or stored, for reversible models; checkpointed for all.")
    ] = None,
    states: Annotated[
        str | None, typer.Option(help="Of T-RevSNN: how states survive to the backward pass: coded, stored, inverted.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd (with momentum, the default) or adamw.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|KEY=VALUE[,...]",
            help="A second case beside it: the same with another model, other choices, or both.",
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(help="Show layers down to this level of their paths, 99 for all; by default one line a block."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows of the table of cells; the rest is one row.")] = 20,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or auto, to run it; by default nothing is computed (fake tensors, any size)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for all cells as CSV and the live bytes over the step as figures.")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="Formats of the figures: png, svg, pdf.")] = "png,svg",
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot", help="On CUDA: also leave PyTorch's own memory snapshot, for pytorch.org/memory_viz."
        ),
    ] = False,
) -> None:
    """Show who holds the bytes at the peak of a training step: which layer, timestep and kind, born in which phase.

    The step is traced in steady state, to the byte and in seconds, without a GPU. The rows add up to the peak.

    Kinds: *saved* is what the forward pass leaves for the backward pass, *recomputation* what a reversible or
    checkpointed block computes again, *temporaries* live within a phase, *neuron state* goes on to the next timestep.
    A timestep is *all* where one tensor holds them all, and for what belongs to none.

    Examples: `revbench explain -m msresnet34` for one case.

    Two models, with figures: `revbench explain -m msresnet34 --against revsresnet37 --out reversible`.

    The same weights without recomputation: `revbench explain -m revsresnet37 --against activations=stored`.

    All timesteps at once or one at a time: `revbench explain -m msresnet --depth 2 -T 8 --against rule=sltt`.
    """
    from revbench.bench import command_explain  # noqa: PLC0415 - imports torch

    command_explain.show(
        command_explain.Request(
            model=model,
            choices={
                "rule": rule,
                "timesteps": timesteps,
                "depth": depth,
                "width": width,
                "batch_size": batch_size,
                "dtype": dtype,
                "activations": activations,
                "states": states,
                "optimizer": optimizer,
            },
            against=against,
            levels=levels,
            rows=rows,
            device=device,
            out=out,
            formats=_parse_formats(formats),
            snapshot=snapshot,
        ),
        _console(),
    )


@app.command("list")
def list_all(
    config: Annotated[Path | None, typer.Option(help="Suite file; as for `revbench run`.")] = None,
) -> None:
    """Show the suites, the models and the rules that there are, plugins included."""
    from revbench.bench import command_list  # noqa: PLC0415

    command_list.list_all(config, _console())


def _parse_formats(text: str) -> tuple[str, ...]:
    formats = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"there is no figure format {name!r}; {nearest(name, list(FORMATS))}")
    return formats


def _console(*, stderr: bool = False) -> Console:
    """The terminal; what models, suites and paths are called is shown as it is, brackets and colons included."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
