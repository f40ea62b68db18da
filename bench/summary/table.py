"""A summary for a person at a terminal: one line a block, parts of the network below each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench.summary.layers import Counts, Layer, Summary
from revbench.bench.summary.observe import summarise
from revbench.models.networks.spiking import SpikingNetwork

INDENT = "  "
GAP = 2
"""Spaces between columns: the table's border is one of them."""
NOTES_WIDTH = 100
DROPPED_FIRST = ("kind", "output shape")
NOTES = (
    "Neurons are those of one timestep; MACs are the multiply-accumulates of one image over all timesteps in the "
    "forward pass. {} Bold lines are sums of the lines below them."
)
RECOMPUTED = "What is recomputed is evaluated once more in the backward pass."
NOTHING_RECOMPUTED = "Nothing is recomputed in the backward pass."


def summary(model: SpikingNetwork, batch_size: int = 1, *, levels: int | None = None) -> Summary:
    """Prints a network's layers to the terminal, and returns them; the network stays as it was.

    Args:
        model: the network, of real or of fake parameters.
        batch_size: images of the forward pass that is looked at.
        levels: how deep to show parts of parts; by default one line a block.
    """
    found = summarise(model, batch_size)
    print_summary(found, Console(markup=False, emoji=False, highlight=False), levels=levels)
    return found


def print_summary(found: Summary, console: Console, *, title: str | None = None, levels: int | None = None) -> None:
    """Prints the table, with what its numbers mean.

    Args:
        found: what to print.
        console: where to.
        title: stands above the table; by default the network's class.
        levels: how deep to show parts of parts; by default one line a block.
    """
    if levels is None:
        unfolded = _above_blocks(found.network)
        lines = list(_lines(found.network, lambda layer, _: layer.name in unfolded))
    else:
        lines = list(_lines(found.network, lambda _, level: level < levels))
    columns, dropped = _fitting(_columns(lines, found), console.width)
    about = (
        f"{f'{found.kind}, ' if title else ''}{found.num_layers} layers, T={found.timesteps}, "
        f"batch {found.batch_size}, input {list(found.input_shape)}"
    )
    console.print(Text(title or found.kind, style="bold"))
    console.print(Text(about, style="dim"))
    console.print()
    # Wider than the terminal, if it must be: a line that wraps is better than a number that is cut.
    console.print(_table(columns, lines), crop=False, no_wrap=True, overflow="ignore")
    console.print()
    notes = NOTES.format(RECOMPUTED if found.recomputed else NOTHING_RECOMPUTED)
    if dropped:
        notes += f" For want of width there is no column for: {', '.join(dropped)}."
    console.print(Text(notes, style="dim"), width=min(console.width, NOTES_WIDTH))


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table: a layer with all that is inside it, or what the layer does itself."""

    name: str
    counts: Counts
    layer: Layer
    is_sum: bool = False
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the terminal's table; the last cells are those of the totals."""

    header: str
    cells: list[str]
    is_number: bool = True

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(len(line) for line in (*self.header.split("\n"), *self.cells))


def _lines(parent: Layer, is_unfolded: Callable[[Layer, int], bool], level: int = 1) -> Iterator[_Line]:
    indent = INDENT * (level - 1)
    if parent.own:
        yield _Line(f"{indent}(itself)", parent.own, parent, is_own=True)
    for layer in _parts(parent):
        name = indent + layer.name.removeprefix(f"{parent.name}.")
        is_sum = bool(_parts(layer)) and is_unfolded(layer, level)
        yield _Line(name, layer.total, layer, is_sum=is_sum)
        if is_sum:
            yield from _lines(layer, is_unfolded, level + 1)


def _parts(parent: Layer) -> list[Layer]:
    """The layers to show below a layer: those that do something; what only holds them has no line of its own."""
    parts = []
    for layer in parent.children:
        if layer.calls == 0 and not layer.own:
            parts += _parts(layer)
        elif layer.total:
            parts.append(layer)
    return sorted(parts, key=lambda layer: layer.first_call)


def _above_blocks(network: Layer) -> set[str]:
    """The layers to unfold for one line a block: those on the way to the outermost rows of blocks, and the rows."""
    paths: list[tuple[Layer, ...]] = [(part,) for part in _parts(network)]
    while paths:
        rows = [path for path in paths if _is_row_of_blocks(path[-1])]
        if rows:
            return {layer.name for path in rows for layer in path}
        paths = [(*path, part) for path in paths for part in _parts(path[-1])]
    return set()


def _is_row_of_blocks(layer: Layer) -> bool:
    """Whether it is a container of layers that consist of others."""
    return layer.is_container and any(map(_parts, _parts(layer)))


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def _millions(count: int) -> str:
    text = f"{count / 1e6:,.2f}"
    return "" if not count else "<0.01" if text == "0.00" else text


def _columns(lines: list[_Line], found: Summary) -> list[_Column]:
    """All columns that say something; the ends of the cells are the totals and what is recomputed of them."""
    total, again = found.total, found.recomputed
    counts = [line.counts for line in lines]
    columns = [
        _text("layer", [line.name for line in lines], "total", "recomputed"),
        _text("kind", ["" if line.is_own else _kind(line.layer) for line in lines]),
        _text("output shape", ["" if line.is_own else _shapes(line.layer) for line in lines]),
        _numbers("parameters", [count.parameters for count in counts], total.parameters, again.parameters),
        _numbers("frozen", [count.frozen for count in counts], total.frozen, again.frozen),
        _numbers("neurons", [count.neurons for count in counts], total.neurons, again.neurons),
        _numbers("MACs\nmillion", [count.macs for count in counts], total.macs, again.macs, _millions),
        _text("recom-\nputed", [_recomputed(line) for line in lines]),
    ]
    return [column for column in columns if any(column.cells)]


def _text(header: str, texts: list[str], total: str = "", recomputed: str = "") -> _Column:
    return _Column(header, [*texts, total, recomputed], is_number=False)


def _numbers(
    header: str, counts: list[int], total: int, recomputed: int, written: Callable[[int], str] = _count
) -> _Column:
    share = f"{recomputed / total:.1%}" if recomputed else ""
    return _Column(header, [*map(written, counts), written(total), share])


def _kind(layer: Layer) -> str:
    return f"{layer.kind}, {layer.calls} calls" if layer.calls > 1 else layer.kind


def _shapes(layer: Layer) -> str:
    """`2x [4, 1, 64, 32, 32]` for two tensors of the same shape."""
    distinct = list(dict.fromkeys(layer.output_shapes))
    if not distinct:
        return "" if layer.calls else "never called"
    times = f"{len(layer.output_shapes)}x " if len(layer.output_shapes) > 1 and len(distinct) == 1 else ""
    return times + str(list(distinct[0])) + (", ..." if len(distinct) > 1 else "")


def _recomputed(line: _Line) -> str:
    if line.is_own:
        return "yes" if line.layer.is_recomputed else ""
    again = line.layer.recomputed
    return "yes" if again == line.counts else "partly" if again else ""


def _width(columns: list[_Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _fitting(columns: list[_Column], width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the headers of those that were left out."""
    dropped = []
    for header in DROPPED_FIRST:
        if _width(columns) > width:
            columns = [column for column in columns if column.header != header]
            dropped.append(header)
    return columns, dropped


def _table(columns: list[_Column], lines: list[_Line]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), width=_width(columns)
    )
    for column in columns:
        table.add_column(column.header, justify="right" if column.is_number else "left", no_wrap=True)
    rows = list(zip(*(column.cells for column in columns), strict=True))
    if not any(rows[-1][1:]):
        del rows[-1]  # nothing is recomputed
    for index, cells in enumerate(rows):
        is_total = index >= len(lines)
        table.add_row(
            *map(Text, cells),
            style="bold" if is_total or lines[index].is_sum else None,
            end_section=index == len(lines) - 1,
        )
    return table
