"""The commands about the memory of one training step: `revbench explain`, `predict` and `validate`."""

from pathlib import Path
from typing import Annotated

import typer

from revbench.bench.errors import EXIT_CASE_FAILED, EXIT_OK
from revbench.bench.terminal import console, parse_explanation_formats

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Name of a model (see `revbench list`), or package.module:function that makes an nn.Module.",
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="What a module of your own reads: 3x32x32 (the default), or event frames as in Tx2x48x48.",
    ),
]
RuleName = Annotated[str | None, typer.Option(help="How gradients are obtained: bptt (the default), sltt, ottt_a, ...")]
Timesteps = Annotated[int, typer.Option("--timesteps", "-T", help="T, the length of the simulation.")]
Depth = Annotated[int | None, typer.Option(help="Of a family, which needs one: its blocks, or those of each stage.")]
Width = Annotated[int | None, typer.Option(help="Of a family: the width in its first stage.")]
BatchSize = Annotated[int, typer.Option(help="Images of a training step.")]
DTypeName = Annotated[
    str | None, typer.Option(help="float32 (the default), float64; bfloat16 and float16 under autocast.")
]
ActivationsName = Annotated[
    str | None, typer.Option(help="recomputed or stored, for reversible models; checkpointed for all.")
]
StatesName = Annotated[
    str | None, typer.Option(help="Of T-RevSNN: how states survive to the backward pass: coded, stored, inverted.")
]
OptimizerChoice = Annotated[str | None, typer.Option(help="sgd (with momentum, the default) or adamw.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    for command in (explain, predict, validate):
        app.command()(command)


def explain(
    model: Model,
    rule: RuleName = None,
    timesteps: Timesteps = 4,
    depth: Depth = None,
    width: Width = None,
    batch_size: BatchSize = 32,
    dtype: DTypeName = None,
    activations: ActivationsName = None,
    states: StatesName = None,
    optimizer: OptimizerChoice = None,
    input_shape: Input = None,
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
        Path | None,
        typer.Option(help="Folder for all cells as CSV, and the live bytes over the step as figures and as a page."),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format", help="Formats of the figures: png, svg, pdf; and html, one page with all and a treemap."
        ),
    ] = "png,svg,html",
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

    A module of your own: `revbench explain -m nets.vgg:build --input 3x48x48`.
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
            input_shape=input_shape,
            against=against,
            levels=levels,
            rows=rows,
            device=device,
            out=out,
            formats=parse_explanation_formats(formats),
            snapshot=snapshot,
        ),
        console(),
    )


def predict(
    model: Model,
    rule: RuleName = None,
    timesteps: Timesteps = 4,
    depth: Depth = None,
    width: Width = None,
    batch_size: BatchSize = 32,
    dtype: DTypeName = None,
    activations: ActivationsName = None,
    states: StatesName = None,
    optimizer: OptimizerChoice = None,
    input_shape: Input = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="CARD|AMOUNT",
            help="Does it fit, and what is the largest batch, T and depth that do? h200, a100-80, rtx4090, ..., 24GB.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, in bytes, and no tables.")] = False,
) -> None:
    """Predict the memory of a training step on a GPU, without one: requested, allocated and reserved bytes.

    Two training steps are traced without arithmetic, as CUDA would do them, and given to a simulation of PyTorch's
    allocator. What CUDA does otherwise than the CPU is listed with its bytes; what is not known is called unknown.

    Examples: `revbench predict -m revsresnet37 -T 10 --batch-size 128 --gpu rtx4090`.

    A module of your own, which the function `build` of nets/vgg.py makes: `revbench predict -m nets.vgg:build`.
    """
    from revbench.bench import command_predict  # noqa: PLC0415 - imports torch

    command_predict.show(
        command_predict.Request(
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
            input_shape=input_shape,
            gpu=gpu,
            as_json=as_json,
        ),
        console(),
    )


def validate(
    out: Annotated[Path, typer.Option(help="Run folder; the same command goes on where it was.")] = Path(
        "runs/validation"
    ),
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="TEXT|KEY=VALUE", help="Only matching cases. Repeatable: all must hold."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many cases.")] = None,
    limit_s: Annotated[
        float | None, typer.Option(help="Begin no case after so many seconds; run again to go on.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set earlier records aside and measure again.")] = False,
) -> None:
    """Measure the whole zoo on a GPU beside its predictions, and write the table of errors.

    Every model under every rule that applies, small, and the papers' sizes, each in a fresh process. The error of the
    allocated peak is split into rounding, workspaces and what is unexplained. Needs a GPU.
    """
    from revbench.bench import command_validate  # noqa: PLC0415 - imports torch

    failed = command_validate.run(
        command_validate.Request(out=out, only=tuple(only or ()), limit=limit, limit_s=limit_s, fresh=fresh), console()
    )
    raise typer.Exit(EXIT_CASE_FAILED if failed else EXIT_OK)
