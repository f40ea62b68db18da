"""From suites to cases: overrides, the product of the axes, and selection."""

from typing import Any

import pytest

from revbench.bench.analysis.case_rows import stored_twin
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.config import Config, Suite, find_config, load_config
from revbench.bench.errors import ConfigError, nearest
from revbench.bench.suites import expand, parse_overrides, select

PACKAGED = [
    "depth-scaling",
    "cifar",
    "event",
    "smoke",
    "recomputation",
    "reversibility",
    "states",
    "imagenet",
    "ablation-timesteps",
    "ablation-residual",
    "published-revsnn",
    "published-online",
    "gradient-similarity",
    "throughput",
    "ann-vs-snn",
    "timestep-scaling",
    "complexity",
    "learning",
    "learning-revsresnet",
    "learning-transformers",
    "learning-event-transformers",
    "learning-events",
    "learning-trevsnn",
    "energy",
    "energy-transformers",
    "inference-cost",
    "inference-cost-trained",
    "gate",
    "gate-events",
    "gate-half-precision",
]


FAMILIES = ["msresnet", "revsresnet", "spikingformer", "revsformer", "sdt", "trevsnn"]


class FakeCatalog:
    """The families, and a plain and a reversible model of a fixed size."""

    def names(self) -> list[str]:
        """Families, then models of a fixed size."""
        return [*FAMILIES, "msresnet18", "revsresnet21"]

    def check(self, name: str) -> None:
        """All of them."""
        if name not in self.names():
            raise ConfigError(f"there is no model {name!r}; {nearest(name, self.names())}")

    def takes_width(self, name: str) -> bool:
        """The families."""
        return self.takes_depth(name)

    def rules(self) -> list[str]:
        """Two rules."""
        return ["bptt", "sltt"]

    def is_rule(self, name: str) -> bool:
        """The two."""
        return name in self.rules()

    def takes_depth(self, name: str) -> bool:
        """The families."""
        return name in FAMILIES

    def is_reversible(self, name: str) -> bool:
        """Those whose name says so."""
        return name.startswith(("rev", "trev"))

    def has_states(self, name: str) -> bool:
        """One family."""
        return name == "trevsnn"


CATALOG = FakeCatalog()


def suite(**keys: Any) -> Suite:
    """A suite named `small` of the two families, with these keys."""
    table = {"title": "Small", "claim": "Small is small.", "models": ["msresnet", "revsresnet"]}
    return Config.model_validate({"suites": {"small": table | keys}}).suite("small")


def labels(cases: list[Case]) -> list[str]:
    """The cases as people read them."""
    return [case.label() for case in cases]


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_suites_expand(name: str) -> None:
    """Every packaged suite loads, examines a claim and expands, measured and predicted."""
    packaged = load_config(find_config()).suite(name)
    assert packaged.claim.endswith(".")
    cases = expand(packaged, "cpu", Catalog())
    predicted = expand(packaged.for_prediction(), "fake", Catalog())
    assert 1 < len(predicted) <= len(cases) == len({case.id for case in cases})
    swept = any(sweep.batch_size for sweep in packaged.sweeps)
    assert (len({case.batch_size for case in cases}) > 1) == swept
    assert {case.device for case in predicted} == {"fake"}


def test_packaged_suites_are_all_tested() -> None:
    """The packaged file holds the suites that are tested here, and predicts at the batch sizes of the papers."""
    config = load_config(find_config())
    assert list(config.suites) == PACKAGED
    predicted = [config.suite(name).for_prediction().batch_size for name in PACKAGED]
    assert predicted == [
        (128,),
        (32,),
        (16,),
        (2,),
        (128,),
        (2,),
        (32,),
        (512,),
        *[(32,)] * 3,
        *[(4,), (32,), (4,)],
        *[(32,)] * 2,
        (8,),
        *[(32,)] * 6,
        *[(32,), (32,), (1,), (32,)],
        *[(2,)] * 3,
    ]


def test_depth_scaling_has_all_reversible_families_for_images() -> None:
    """With their counterparts; those for event frames are the same networks."""
    compared = load_config(find_config()).suite("depth-scaling").models
    entries = Catalog().entries.values()
    families = [e for e in entries if e.family and e.reversible and not e.name.endswith("_event")]
    variants = {"trevsnn_unscaled", "trevsnn_split"}
    reversible = {entry.name for entry in families} - variants
    assert reversible == {"revsresnet", "revsformer", "trevsnn"}
    assert {*reversible, *(e.counterpart for e in families if e.counterpart and e.name not in variants)} <= {*compared}


def test_throughput_has_each_twin_at_every_point() -> None:
    """So that the share of recomputation is known everywhere."""
    cases = expand(load_config(find_config()).suite("throughput"), "cpu", Catalog())
    twins = [stored_twin(case) for case in cases if case.activations == "recomputed"]
    assert twins
    assert {*twins} <= {*cases}


def test_models_that_bptt_alone_trains() -> None:
    """They have no case of another rule, and all others have them all."""
    cases = expand(suite(rule=["sltt", "bptt"], bptt_only=["revsresnet"], depth=1), "cpu", CATALOG)
    assert labels(cases) == [
        "msresnet sltt depth=1 T=4 batch=1",
        "msresnet depth=1 T=4 batch=1",
        "revsresnet depth=1 T=4 batch=1",
    ]
    with pytest.raises(ConfigError, match="'revresnet'; did you mean 'revsresnet'"):
        expand(suite(bptt_only="revresnet", depth=1), "cpu", CATALOG)


def test_models_under_comparison_are_neighbours() -> None:
    """The axes nest in the order of a case, and the models are the innermost loop."""
    cases = expand(suite(depth=[1, 2], timesteps=[4, 8]), "cpu", CATALOG)
    assert labels(cases) == [
        "msresnet depth=1 T=4 batch=1",
        "revsresnet depth=1 T=4 batch=1",
        "msresnet depth=1 T=8 batch=1",
        "revsresnet depth=1 T=8 batch=1",
        "msresnet depth=2 T=4 batch=1",
        "revsresnet depth=2 T=4 batch=1",
        "msresnet depth=2 T=8 batch=1",
        "revsresnet depth=2 T=8 batch=1",
    ]


def test_absent_axes_leave_the_defaults_of_a_case() -> None:
    """An axis that the suite does not name is that of a plain case."""
    assert expand(suite(models="msresnet18"), "cuda", CATALOG) == [Case(model="msresnet18", device="cuda")]


def test_duplicates_are_removed() -> None:
    """A value that is written twice gives one case."""
    assert len(expand(suite(depth=[1, 1, 2], models=["msresnet", "msresnet"]), "cpu", CATALOG)) == 2


def test_sweeps_share_the_point_that_they_meet_in() -> None:
    """The cases are those of all sweeps, each but once, and every sweep is checked."""
    swept = suite(depth=1, batch_size=2, models="msresnet", sweeps=[{"batch_size": [1, 2]}, {"depth": [1, 2]}])
    assert labels(expand(swept, "cpu", CATALOG)) == [
        "msresnet depth=1 T=4 batch=1",
        "msresnet depth=1 T=4 batch=2",
        "msresnet depth=2 T=4 batch=2",
    ]
    with pytest.raises(ConfigError, match="the model 'msresnet18' has a fixed size and takes no depth"):
        expand(suite(models="msresnet18", sweeps=[{"timesteps": 2}, {"depth": 1}]), "cpu", CATALOG)
    with pytest.raises(ConfigError, match="there is no rule 'slt'"):
        expand(suite(models="msresnet18", sweeps=[{"rule": "slt"}]), "cpu", CATALOG)


def test_states_count_where_a_model_has_them_and_recomputes() -> None:
    """Stored activations leave no choice of states, and other models have none."""
    chosen = suite(
        models=["msresnet", "revsresnet", "trevsnn"],
        depth=1,
        activations=["recomputed", "stored"],
        states=["coded", "inverted"],
    )
    assert [(case.model, case.activations, case.states) for case in expand(chosen, "cpu", CATALOG)] == [
        ("msresnet", None, None),
        ("revsresnet", "recomputed", None),
        ("trevsnn", "recomputed", "coded"),
        ("trevsnn", "recomputed", "inverted"),
        ("revsresnet", "stored", None),
        ("trevsnn", "stored", None),
    ]


def test_activations_count_for_reversible_models_only() -> None:
    """A model that is not reversible gets one case without activations."""
    cases = expand(suite(depth=1, activations=["recomputed", "stored"]), "cpu", CATALOG)
    assert [(case.model, case.activations) for case in cases] == [
        ("msresnet", None),
        ("revsresnet", "recomputed"),
        ("revsresnet", "stored"),
    ]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"models": "revsresnt"}, "there is no model 'revsresnt'; did you mean 'revsresnet'?"),
        ({"depth": 1, "rule": "slt"}, "there is no rule 'slt'; did you mean 'sltt'?"),
        ({}, "the family 'msresnet' needs a depth; add one, as in depth=1,2,4"),
        (
            {"models": ["msresnet", "msresnet18"], "depth": 1},
            "the model 'msresnet18' has a fixed size and takes no depth; "
            "remove depth, or choose only families: msresnet, revsresnet, spikingformer, revsformer, sdt, trevsnn",
        ),
        (
            {"models": "revsresnet21", "width": 8},
            "the model 'revsresnet21' has a fixed size and takes no width; "
            "remove width, or choose only families: msresnet, revsresnet, spikingformer, revsformer, sdt, trevsnn",
        ),
    ],
)
def test_suite_that_cannot_be_expanded(keys: dict[str, Any], expected: str) -> None:
    """One sentence names the suite, the model or rule, and what to do."""
    with pytest.raises(ConfigError) as raised:
        expand(suite(**keys), "cpu", CATALOG)
    assert str(raised.value) == f"suite 'small': {expected}"


def test_overrides_are_typed_by_their_field() -> None:
    """Integers, numbers, names and lists are read as their key has them, spaces or not."""
    texts = [" depth = 1, 2,4 ", "batch_size=8", "model=a", "dtype=float64", "passes=memory,time", "timeout_s=1.5"]
    assert parse_overrides(texts) == {
        "depth": (1, 2, 4),
        "batch_size": (8,),
        "models": ("a",),
        "dtype": ("float64",),
        "passes": ("memory", "time"),
        "timeout_s": 1.5,
    }
    assert parse_overrides(["models=1,a", "timeout_s=30"]) == {"models": ("1", "a"), "timeout_s": 30.0}
    assert parse_overrides([]) == {}


def test_overrides_reach_the_cases() -> None:
    """An override replaces the axis of the suite."""
    changed = suite(depth=[1, 2]).with_overrides(parse_overrides(["depth=4", "model=revsresnet"]))
    assert labels(expand(changed, "cpu", CATALOG)) == ["revsresnet depth=4 T=4 batch=1"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["depth"], "the override 'depth' is not key=value; write it as depth=1,2,4"),
        (["=4"], "the override '=4' is not key=value; write it as depth=1,2,4"),
        (["dept=4"], "the override 'dept=4' has an unknown key; did you mean 'depth'?"),
        (["device=cuda"], "the override 'device=cuda' has an unknown key; valid: activations, batch_size, "),
        (["depth="], "the override 'depth=' has an empty value; write it as depth=VALUE or depth=VALUE,VALUE"),
        (["depth=1,,2"], "the override 'depth=1,,2' has an empty value; "),
        (["depth=1", "depth=2"], "depth is overridden twice; separate its values by commas"),
        (["model=a", "models=b"], "models is overridden twice; separate its values by commas"),
        (["depth=four"], 'overrides: depth must be an integer, not the string "four"'),
        (["depth=1.0"], "overrides: depth must be an integer, not the float 1.0"),
        (["depth=0"], "overrides: depth must be greater than 0, not the integer 0"),
        (["timeout_s=nan"], "overrides: timeout_s must be a finite number, not the float NaN"),
        (["timeout_s=1,2"], "overrides: timeout_s must be a number, not a list"),
        (["dtype=floot32"], "overrides: dtype cannot be the string \"floot32\"; did you mean 'float32'?"),
        (["passes=memory,tim"], "overrides: passes cannot be the string \"tim\"; did you mean 'time'?"),
    ],
)
def test_mistake_in_an_override(texts: list[str], expected: str) -> None:
    """One sentence names the key and what is expected or nearest."""
    with pytest.raises(ConfigError) as raised:
        parse_overrides(texts)
    assert str(raised.value).startswith(expected)


GRID = [Case(model=model, depth=depth) for depth in (1, 2, 4, 16) for model in ("msresnet", "revsresnet")]


@pytest.mark.parametrize(
    ("only", "limit", "expected"),
    [
        ([], None, GRID),
        ([], 3, GRID[:3]),
        (["rev"], None, GRID[1::2]),
        (["model=revsresnet"], None, GRID[1::2]),
        (["model=rev", "depth=1"], None, None),
        (["depth=1"], None, GRID[:2]),
        ([" depth = 4 ", "revs"], None, GRID[5:6]),
        (["T=4", "batch=1"], 1, GRID[:1]),
    ],
)
def test_select(only: list[str], limit: int | None, expected: list[Case] | None) -> None:
    """All conditions must hold: parts of a label, and whole values of a field."""
    if expected is None:
        with pytest.raises(ConfigError):
            select(GRID, only, limit)
    else:
        assert select(GRID, only, limit) == expected


@pytest.mark.parametrize(
    ("only", "limit", "expected"),
    [
        (["model=revsresnet", "depth=3"], None, "no case matches 'depth=3'; choose from: 1, 2, 4, 16"),
        (
            ["depth=4", "former"],
            None,
            "no case matches 'former'; choose from: msresnet depth=4 T=4 batch=1, revsresnet ",
        ),
        (["dept=4"], None, "no case has the key of 'dept=4'; did you mean 'depth'?"),
        ([], 0, "the limit of cases must be at least 1, not 0"),
    ],
)
def test_nothing_to_select(only: list[str], limit: int | None, expected: str) -> None:
    """One sentence says what could be chosen."""
    with pytest.raises(ConfigError) as raised:
        select(GRID, only, limit)
    assert str(raised.value).startswith(expected)


def test_long_offers_are_cut() -> None:
    """Of many values the first few are shown, and how many there are."""
    cases = [Case(model="msresnet", depth=depth) for depth in range(1, 21)]
    with pytest.raises(ConfigError, match=r"choose from: 1, 2, 3, 4, 5, 6, 7, 8, \.\.\. \(20 in all\)$"):
        select(cases, ["depth=99"])
