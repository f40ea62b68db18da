"""The lines of a growth: cases that differ on one axis alone, what names them, and how they look."""

from collections.abc import Sequence
from dataclasses import dataclass

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis
from revbench.bench.analysis.row_groups import grouped, of_first_seed, varying_fields
from revbench.reports.drawing import Look
from revbench.reports.style import COLOURS, LINE_STYLES, MARKERS
from revbench.reports.units import mebibytes
from revbench.reports.wording import describe


@dataclass(frozen=True, slots=True)
class GrowthLine:
    """Cases that differ on the axis alone, what names them, and how they are drawn."""

    axis: Axis
    rows: list[CaseRow]
    name: str
    look: Look

    def points(self, metric: str) -> list[tuple[int, float]]:
        """(place on the axis, MiB) of the cases that have a number."""
        values = ((self.place(row), getattr(row, metric)) for row in self.rows)
        return [(place, mebibytes(value)) for place, value in values if value is not None]

    def layers(self) -> str:
        """The layer counts from the first to the last case that has one: `10 to 66 layers`."""
        counts = [str(row.num_layers) for row in self.rows if row.num_layers is not None]
        return f"{' to '.join(dict.fromkeys((counts[0], counts[-1])))} layers" if counts else ""

    def failures(self) -> list[tuple[int, str]]:
        """(place on the axis, status) of the cases of which the memory pass failed."""
        return [(self.place(row), row.pass_status("memory")) for row in self.rows if row.failed("memory")]

    def place(self, row: CaseRow) -> int:
        """The place of a case on the axis."""
        return int(getattr(row.case, self.axis))


def growth_lines(rows: Sequence[CaseRow], axis: Axis) -> list[GrowthLine]:
    """The groups in order of appearance, of the first seed alone, and without points of sweeps along other axes.

    Where several models come in several variants, colour and marker tell the model and the line style the variant, if
    there are line styles enough.
    """
    groups = _of_one_sweep(grouped(of_first_seed(rows), axis), axis)
    drawn = [row for group in groups for row in group]
    naming = [name for name in varying_fields(drawn) if name not in ("model", axis)]
    models = list(dict.fromkeys(group[0].case.model for group in groups))
    variants = list(dict.fromkeys(describe(group[0].case, naming) for group in groups))
    by_model = 1 < len(models) < len(groups) and len(variants) <= len(LINE_STYLES)
    lines = []
    for index, group in enumerate(groups):
        case = group[0].case
        look = models.index(case.model) if by_model else index
        stroke = variants.index(describe(case, naming)) if by_model else index
        line = GrowthLine(
            axis=axis,
            rows=group,
            name=describe(case, ["model", *naming]),
            look=Look(
                colour=COLOURS[look % len(COLOURS)],
                marker=MARKERS[look % len(MARKERS)],
                line_style=LINE_STYLES[stroke % len(LINE_STYLES)],
            ),
        )
        lines.append(line)
    return lines


def _of_one_sweep(groups: list[list[CaseRow]], axis: Axis) -> list[list[CaseRow]]:
    """Without those where nothing varies along the axis, if it does elsewhere."""
    others = [name for name in ("depth", "timesteps", "batch_size") if name != axis]

    def place(group: list[CaseRow]) -> tuple[object, ...]:
        return tuple(getattr(group[0].case, name) for name in others)

    varying = {place(group) for group in groups if len(group) > 1}
    return [group for group in groups if place(group) in varying] or groups
