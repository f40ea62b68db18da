from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows, recomputation_share
from revbench.bench.analysis.row_groups import depths_of, grouped, of_first_seed, varying_fields
from revbench.bench.cases import Case
from revbench.bench.records import Counter, PassName, Record, Status
from revbench.bench.similarity.metric import SimilarityMetric

CASE = Case(model="msresnet", depth=1, batch_size=4)
DEEPER = Case(model="msresnet", depth=2, batch_size=4)


def record(
    metric: str,
    value: float | None,
    *,
    case: Case = CASE,
    pass_name: PassName = "memory",
    counter: Counter | None = None,
    status: Status = "ok",
    detail: str = "",
) -> Record:
    """A record of which the test names what matters."""
    return Record(
        case=case,
        pass_name=pass_name,
        metric=metric,
        value=value,
        unit="",
        counter=counter,
        status=status,
        detail=detail,
        at="",
    )


def test_each_counter_has_its_own_column() -> None:
    """The peaks that different counters saw of one step do not overwrite each other."""
    counters: tuple[Counter, ...] = ("traced", "cuda_requested", "cuda_allocated", "cuda_reserved")
    records = [record("peak_bytes", 10 + index, counter=counter) for index, counter in enumerate(counters)]
    (row,) = case_rows([*records, record("process_bytes", 20, counter="nvml"), record("status", None)])
    found = (row.peak_bytes, row.cuda_requested_bytes, row.cuda_allocated_bytes, row.cuda_reserved_bytes)
    assert found == (10, 11, 12, 13)
    assert row.process_bytes == 20


def test_bytes_are_shared_among_the_images() -> None:
    """What is per image is the bytes of the step divided by the batch size."""
    records = [record("activation_peak_bytes", 10, counter="traced"), record("status", None)]
    (row,) = case_rows(records)
    assert row.activation_peak_bytes_per_image == 2.5
    assert row.peak_bytes_per_image is None


def test_the_passes_of_a_case_share_a_row_in_order_of_appearance() -> None:
    """A case has one row however its passes are mixed, and the first case comes first."""
    records = [
        record("status", None),
        record("status", None, case=DEEPER),
        record("step_s", 0.5, pass_name="time"),
        record("status", None, pass_name="time"),
    ]
    rows = case_rows(records)
    assert [row.case for row in rows] == [CASE, DEEPER]
    assert rows[0].step_s == 0.5
    assert rows[1].step_s is None


def test_status_is_that_of_the_worst_pass() -> None:
    """An error outweighs an exhausted memory, whichever pass comes first, and brings its detail."""
    records = [
        record("status", None, status="oom", detail="too little"),
        record("status", None, pass_name="time", status="error", detail="a bug"),
    ]
    (row,) = case_rows(records)
    assert (row.status, row.detail) == ("time: error", "a bug")
    assert row.pass_status("memory") == "oom"


def test_one_failed_pass_does_not_hide_the_other() -> None:
    """A case of which the memory was measured and the time was not has a number and a failure."""
    records = [
        record("peak_bytes", 10, counter="traced"),
        record("status", None),
        record("status", None, pass_name="time", status="timeout"),
    ]
    (row,) = case_rows(records)
    assert (row.peak_bytes, row.status) == (10, "time: timeout")
    assert not row.failed("memory")
    assert row.failed("time")


def test_a_pass_that_was_not_run_is_neither_ok_nor_failed() -> None:
    """A pass without records is said not to be measured."""
    (row,) = case_rows([record("status", None)])
    assert row.status == "ok"
    assert row.pass_status("time") == "not measured"
    assert not row.failed("time")


def test_what_varies_and_how_it_groups() -> None:
    """Two depths of one model vary in depth alone and are one group, ascending."""
    rows = case_rows([record("status", None, case=DEEPER), record("status", None)])
    assert varying_fields(rows) == ("depth",)
    assert depths_of(rows) == [1, 2]
    assert [[row.case for row in group] for group in grouped(rows, "depth")] == [[CASE, DEEPER]]


def test_similarities_are_read_from_the_names_of_their_metrics() -> None:
    """All of them, and those of all parameters after the last epoch by themselves; no other metric is one."""
    values = {
        "similarity_stage_ends_epoch_2": 0.5,
        "similarity_stage_ends_epoch_10": 0.75,
        "similarity_stage_ends_epoch_10_layer_3": 0.25,
        "similarity_nowhere_epoch_10": None,
        "similarity_elsewhere_epoch_10": -0.5,
    }
    records = [record(metric, value, pass_name="similarity") for metric, value in values.items()]
    (row,) = case_rows([*records, record("test_accuracy", 1.0, pass_name="similarity")])
    assert (row.similarity_stage_ends, row.similarity_elsewhere, row.similarity_nowhere) == (0.75, -0.5, None)
    assert dict(row.similarities) == {
        SimilarityMetric("stage_ends", 2): 0.5,
        SimilarityMetric("stage_ends", 10): 0.75,
        SimilarityMetric("stage_ends", 10, 3): 0.25,
        SimilarityMetric("nowhere", 10): None,
        SimilarityMetric("elsewhere", 10): -0.5,
    }


def test_a_case_without_a_similarity_pass_has_no_similarities() -> None:
    """None, and an empty view."""
    (row,) = case_rows([record("status", None)])
    assert (row.similarity_stage_ends, row.similarities) == (None, ())


def test_the_share_of_recomputation_is_what_the_stored_twin_saves() -> None:
    """Of two cases that differ in activations alone (and in states, which stored activations have none of)."""
    recomputed, stored, deeper = (
        Case(model="trevsnn", depth=1, activations="recomputed", states="coded"),
        Case(model="trevsnn", depth=1, activations="stored"),
        Case(model="trevsnn", depth=2, activations="recomputed", states="coded"),
    )
    records = [
        record(metric, value, case=case, pass_name="time")
        for case, step_s in ((recomputed, 0.5), (stored, 0.375), (deeper, 1.0))
        for metric, value in (("step_s", step_s), ("status", None))
    ]
    assert [row.recomputation_share for row in case_rows(records)] == [0.25, None, None]
    assert [row.recomputation_share for row in case_rows(records[:2])] == [None]


def test_recomputation_share() -> None:
    """Noise may make it negative; without both times, or of a step of no time, there is none."""
    assert recomputation_share(0.5, 0.75) == -0.5
    assert [recomputation_share(*steps) for steps in ((None, 1.0), (1.0, None), (0.0, 1.0))] == [None] * 3


def test_epochs_are_extrapolated_from_the_throughput_of_training() -> None:
    """Where the suite says how many images an epoch has, and the case was timed."""
    records = [
        record("images_per_s", 50.0, pass_name="time"),
        record("status", None, pass_name="time"),
        record("status", None, case=DEEPER, pass_name="time", status="oom"),
    ]
    assert [row.extrapolated_epoch_s for row in case_rows(records, 1000)] == [20.0, None]
    assert [row.extrapolated_epoch_s for row in case_rows(records)] == [None, None]


def test_of_rows_that_differ_in_the_seed_alone_the_first_counts() -> None:
    """Others stay, in their order."""
    cases = [Case(model=model, seed=seed, depth=depth) for seed in (3, 1) for depth in (1, 2) for model in "ab"]
    rows = [CaseRow(case=case) for case in cases]
    assert of_first_seed(rows) == rows[:4]
    assert of_first_seed(rows[3:]) == rows[3:7]
