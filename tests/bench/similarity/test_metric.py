"""The names of the similarity pass's metrics, there and back."""

import pytest

from revbench.bench.similarity.metric import KEPT, Kept, SimilarityMetric


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (SimilarityMetric("stage_ends", 0), "similarity_stage_ends_epoch_0"),
        (SimilarityMetric("elsewhere", 12), "similarity_elsewhere_epoch_12"),
        (SimilarityMetric("nowhere", 3, 10), "similarity_nowhere_epoch_3_layer_10"),
    ],
)
def test_names_are_read_back(metric: SimilarityMetric, name: str) -> None:
    """Golden names; what is read is what was written."""
    assert metric.name == name
    assert SimilarityMetric.parse(name) == metric


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("layer", [None, 1, 21])
def test_every_name_is_one_of_its_own(kept: Kept, layer: int | None) -> None:
    """No two metrics share a name."""
    metrics = [SimilarityMetric(kept, epoch, layer) for epoch in range(12)]
    assert [SimilarityMetric.parse(metric.name) for metric in metrics] == metrics
    assert len({metric.name for metric in metrics}) == 12


@pytest.mark.parametrize(
    "name",
    [
        "test_accuracy",
        "similarity_stage_ends",
        "similarity_stage_epoch_1",
        "similarity_nowhere_epoch_",
        "similarity_nowhere_epoch_1_layer_",
        "similarity_nowhere_epoch_1 ",
        "my_similarity_nowhere_epoch_1",
    ],
)
def test_other_names_are_not_read(name: str) -> None:
    """A name that is nearly one of them is none."""
    assert SimilarityMetric.parse(name) is None
