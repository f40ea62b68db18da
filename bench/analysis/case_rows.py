"""Rows are made from the records: the wide view of what was measured.

Wide rows are a view, never storage: they are made from the records each time, and a number that the records do not hold
is None in them.
"""

from collections.abc import Iterable
from dataclasses import replace

from revbench.bench.analysis.case_row import ENERGY_METRICS, JOULES_METRICS, REVERSIBILITY_METRICS, CaseRow
from revbench.bench.analysis.energy_details import energy_details
from revbench.bench.cases import Case
from revbench.bench.records import STATUS_METRIC, Counter, Record
from revbench.bench.similarity.metric import SimilarityMetric


def case_rows(records: Iterable[Record], epoch_images: int | None = None) -> list[CaseRow]:
    """One row a case, in the order in which the cases first appear.

    Args:
        records: those that `read_records` gives: finished passes alone, and each but once.
        epoch_images: images of an epoch of the data set that the suite stands for, if any.
    """
    by_case: dict[Case, list[Record]] = {}
    for record in records:
        by_case.setdefault(record.case, []).append(record)
    rows = [_case_row(case, found, epoch_images) for case, found in by_case.items()]
    steps_s: dict[Case | None, float | None] = {row.case: row.step_s for row in rows}
    return [
        replace(row, recomputation_share=recomputation_share(row.step_s, steps_s.get(stored_twin(row.case))))
        for row in rows
    ]


def stored_twin(case: Case) -> Case | None:
    """The same weights with stored activations, for a case that recomputes them."""
    return replace(case, activations="stored", states=None) if case.activations == "recomputed" else None


def recomputation_share(step_s: float | None, stored_step_s: float | None) -> float | None:
    """$(s - s_{stored}) / s$: the share of a step that recomputation takes; the noise of both may make it negative."""
    return None if not step_s or stored_step_s is None else (step_s - stored_step_s) / step_s


def _case_row(case: Case, records: list[Record], epoch_images: int | None) -> CaseRow:
    values = {(record.metric, record.counter): record.value for record in records}

    def whole(metric: str, counter: Counter | None = None) -> int | None:
        value = values.get((metric, counter))
        return None if value is None else int(value)

    parsed = ((SimilarityMetric.parse(record.metric), record.value) for record in records)
    similarities = {metric: value for metric, value in parsed if metric is not None}
    last_epoch = max((metric.epoch for metric in similarities), default=0)
    return CaseRow(
        case=case,
        closings=tuple(record for record in records if record.metric == STATUS_METRIC),
        num_layers=whole("num_layers"),
        num_blocks=whole("num_blocks"),
        num_parameters=whole("num_parameters"),
        peak_bytes=whole("peak_bytes", "traced"),
        activation_peak_bytes=whole("activation_peak_bytes", "traced"),
        forward_end_activation_bytes=whole("forward_end_activation_bytes", "traced"),
        cuda_requested_bytes=whole("peak_bytes", "cuda_requested"),
        cuda_allocated_bytes=whole("peak_bytes", "cuda_allocated"),
        cuda_reserved_bytes=whole("peak_bytes", "cuda_reserved"),
        process_bytes=whole("process_bytes", "nvml"),
        step_s=values.get(("step_s", None)),
        step_spread_s=values.get(("step_spread_s", None)),
        images_per_s=values.get(("images_per_s", None)),
        inference_s=values.get(("inference_s", None)),
        inference_spread_s=values.get(("inference_spread_s", None)),
        inference_images_per_s=values.get(("inference_images_per_s", None)),
        epoch_images=epoch_images,
        **{
            name: values.get((name, None))
            for name in (*REVERSIBILITY_METRICS, *ENERGY_METRICS, "unskipped_energy_j", "test_accuracy", "train_s")
        },
        **{name: value for (name, _), value in values.items() if name in JOULES_METRICS},
        similarity_stage_ends=similarities.get(SimilarityMetric("stage_ends", last_epoch)),
        similarity_elsewhere=similarities.get(SimilarityMetric("elsewhere", last_epoch)),
        similarity_nowhere=similarities.get(SimilarityMetric("nowhere", last_epoch)),
        similarities=tuple(similarities.items()),
        energy=energy_details(records),
    )
