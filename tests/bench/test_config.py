"""Reading suites: what is understood, and the sentence that answers each mistake."""

from pathlib import Path
from typing import get_args

import pytest

from revbench.bench.cases import CASE_FIELDS, LossName
from revbench.bench.config import Axes, Config, Suite, check_overrides, find_config, load_config
from revbench.bench.errors import ConfigError
from revbench.models.rules.losses import LOSSES

SUITE = """
[suites.small]
title = "Small"
claim = "Small is small."
models = ["plain", "reversible"]
"""
PREDICT = "batch_size = 2\ndtype = 'float64'\n[suites.small.predict]\nbatch_size = [32, 128]\n"


def read(tmp_path: Path, text: str) -> Config:
    """The configuration that a file of this text gives."""
    path = tmp_path / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def sentence(tmp_path: Path, text: str) -> str:
    """The error that a file of this text gives, without the path of the file, which it must start with."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    start, message = f"{tmp_path / 'bench.toml'}", str(raised.value)
    assert message.startswith(start)
    assert "\n" not in message
    return message.removeprefix(start).removeprefix(": ")


def test_axes_are_the_fields_of_a_case() -> None:
    """Every field of a case but model, device and checkpoint is an axis, in the same order."""
    assert [*Axes.model_fields] == [field for field in CASE_FIELDS if field not in {"model", "device", "checkpoint"}]


@pytest.mark.parametrize("name", ["records", "a/b", "..", ".hidden", "", "a\\\\b"])
def test_a_suite_whose_name_cannot_name_its_files_is_refused(tmp_path: Path, name: str) -> None:
    """A suite's CSV must neither replace `records.csv` nor lie outside the run folder."""
    message = sentence(tmp_path, SUITE.replace("suites.small", f'suites."{name}"'))
    assert message.endswith("use letters, digits, - and _, and another word than records")


def test_sweeps_replace_axes_one_after_the_other(tmp_path: Path) -> None:
    """Each sweep is a grid of its own around the suite's axes; overrides replace axes in sweeps too."""
    sweeps = "depth = 1\nbatch_size = 4\nsweeps = [{ batch_size = [1, 2] }, { timesteps = 8, depth = [2, 4] }]\n"
    suite = read(tmp_path, SUITE + sweeps).suite("small")
    told = [(grid.depth, grid.batch_size, grid.timesteps, grid.sweeps) for grid in suite.grids()]
    assert told == [((1,), (1, 2), (), ()), ((2, 4), (4,), (8,), ())]
    assert [grid.name for grid in suite.grids()] == ["small", "small"]
    changed = suite.with_overrides(check_overrides({"depth": 3, "batch_size": 7}))
    assert [(grid.depth, grid.batch_size, grid.timesteps) for grid in changed.grids()] == [
        ((3,), (7,), ()),
        ((3,), (7,), (8,)),
    ]
    assert read(tmp_path, SUITE + PREDICT).suite("small").grids()[0].batch_size == (2,)


def test_sweeps_win_over_the_axes_of_predictions(tmp_path: Path) -> None:
    """What a prediction replaces is what the sweeps vary around."""
    sweeps = "sweeps = { batch_size = [1, 2] }\npredict = { batch_size = 128, width = 64 }"
    suite = read(tmp_path, SUITE + sweeps).suite("small").for_prediction()
    assert [(grid.batch_size, grid.width) for grid in suite.grids()] == [((1, 2), (64,))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sweeps = []", "suites.small.sweeps must be one value or more, not an empty list"),
        ("sweeps = 3", "suites.small.sweeps must be a table, not the integer 3"),
        ("sweeps = [{}]", "suites.small.sweeps must name an axis, not an empty table"),
        ("sweeps = [{ dept = 1 }]", "suites.small.sweeps.dept is not a known key; did you mean 'depth'?"),
        ("sweeps = [{ depth = 0 }]", "suites.small.sweeps.depth must be greater than 0, not the integer 0"),
        ("sweeps = [{ models = 'a' }]", "suites.small.sweeps.models is not a known key; valid: activations, "),
        ("epoch_images = 0", "suites.small.epoch_images must be greater than 0, not the integer 0"),
    ],
)
def test_mistake_in_sweeps(tmp_path: Path, line: str, expected: str) -> None:
    """One sentence names the key and what is expected."""
    assert sentence(tmp_path, SUITE + line).startswith(expected)


def test_scalar_is_a_list_of_one(tmp_path: Path) -> None:
    """A scalar and a list of one value say the same."""
    suite = read(tmp_path, SUITE + "depth = 4\nwidth = [8]\nseed = 0").suite("small")
    assert (suite.depth, suite.width, suite.seed) == ((4,), (8,), (0,))


def test_defaults(tmp_path: Path) -> None:
    """A suite that says little leaves its axes empty, and knows its name."""
    suite = read(tmp_path, SUITE).suite("small")
    assert suite.name == "small"
    assert suite.models == ("plain", "reversible")
    assert suite.passes == ("memory", "time")
    assert suite.mirrors == ""
    assert suite.timeout_s == 600.0
    assert all(getattr(suite, axis) == () for axis in Axes.model_fields)


def test_timeout_may_be_a_whole_number(tmp_path: Path) -> None:
    """Seconds need no decimal point."""
    assert read(tmp_path, SUITE + "timeout_s = 30").suite("small").timeout_s == 30.0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dpth = 4", "suites.small.dpth is not a known key; did you mean 'depth'?"),
        ("model = 'plain'", "suites.small.model is not a known key; did you mean 'models'?"),
        (
            "predict = { batchsize = 1 }",
            "suites.small.predict.batchsize is not a known key; did you mean 'batch_size'?",
        ),
        ('"a\\nb" = 4', 'suites.small."a\\nb" is not a known key; valid: activations, batch_size, bptt_only, claim, '),
        ("depth = '4'", 'suites.small.depth must be an integer, not the string "4"'),
        ("depth = true", "suites.small.depth must be an integer, not the boolean true"),
        ("depth = 4.0", "suites.small.depth must be an integer, not the float 4.0"),
        ("depth = [1, [2]]", "suites.small.depth must be an integer, not a list"),
        ("depth = { from = 1 }", "suites.small.depth must be an integer, not a table"),
        ("depth = 2026-01-01", "suites.small.depth must be an integer, not a date"),
        ("depth = [1, 0]", "suites.small.depth must be greater than 0, not the integer 0"),
        ("depth = []", "suites.small.depth must be one value or more, not an empty list"),
        ("seed = -1", "suites.small.seed must be at least 0, not the integer -1"),
        ("rule = 1", "suites.small.rule must be a string, not the integer 1"),
        ("dtype = 'float23'", "suites.small.dtype cannot be the string \"float23\"; did you mean 'float32'?"),
        (
            "passes = ['speed']",
            'suites.small.passes cannot be the string "speed"; '
            "valid: energy, inference_time, joules, learning, memory, operations, reversibility, similarity, time",
        ),
        ("timeout_s = true", "suites.small.timeout_s must be a number, not the boolean true"),
        ("timeout_s = inf", "suites.small.timeout_s must be a finite number, not the float Infinity"),
        ("timeout_s = 0", "suites.small.timeout_s must be greater than 0, not the integer 0"),
        ("predict = 4", "suites.small.predict must be a table, not the integer 4"),
        ("predict = { depth = '4' }", 'suites.small.predict.depth must be an integer, not the string "4"'),
        ("mirrors = ['a']", "suites.small.mirrors must be a string, not a list"),
    ],
)
def test_mistake_in_a_suite(tmp_path: Path, line: str, expected: str) -> None:
    """One sentence names the file, the dotted key and what is expected or nearest."""
    assert sentence(tmp_path, SUITE + line).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "suites is missing; add it"),
        ("suites = 4", "suites must be a table, not the integer 4"),
        ("[suites]\nsmall = 4", "suites.small must be a table, not the integer 4"),
        ("[suite.small]", "suite is not a known key; did you mean 'suites'?"),
        (SUITE.replace("claim", "# claim"), "suites.small.claim is missing; add it"),
        (SUITE.replace("title", "titel"), "suites.small.titel is not a known key; did you mean 'title'?"),
        (
            SUITE.replace("[suites.small]", '[suites."my suite"]') + "depth = 0",
            'suites."my suite".depth must be greater than 0',
        ),
    ],
)
def test_mistake_in_the_file(tmp_path: Path, text: str, expected: str) -> None:
    """Missing and misplaced tables and keys are named; a misspelt key is reported before the one it should be."""
    assert sentence(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("[suites.small]\ndepth 4", "line 2, column 7"),
        ("[suites.small]\ndepth = [1,", "line 2, column 12"),
        ("depth = 1" + 5000 * "0", "5001 digits"),
        ("depth = " + 5000 * "[", "recursion"),
    ],
)
def test_not_toml(tmp_path: Path, text: str, position: str) -> None:
    """A file that is not TOML is reported with the line and column, also where it ends too soon."""
    message = sentence(tmp_path, text)
    assert message.startswith(" is not TOML: ")
    assert position in message


def test_not_utf8(tmp_path: Path) -> None:
    """A file of another encoding is named with the place."""
    path = tmp_path / "bench.toml"
    path.write_bytes(b'title = "\xff"')
    with pytest.raises(ConfigError, match=r"bench\.toml is not UTF-8 at byte 9; save it as UTF-8$"):
        load_config(path)


def test_missing_and_unreadable_file(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is named with the reason."""
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory; check the path$"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=f"{tmp_path}: Is a directory; check the path$"):
        load_config(tmp_path)


def test_unknown_suite(tmp_path: Path) -> None:
    """Asking for a suite that is not there gives the nearest name."""
    with pytest.raises(ConfigError, match=r"^there is no suite 'smal'; did you mean 'small'\?$"):
        read(tmp_path, SUITE).suite("smal")


def test_find_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The explicit file wins over that of the working directory, which wins over that of the package."""
    monkeypatch.chdir(tmp_path)
    assert load_config(find_config()).suite("smoke").models == ("msresnet", "revsresnet")
    local = tmp_path / "bench.toml"
    local.touch()
    assert find_config() == local
    assert find_config(Path("other.toml")) == Path("other.toml")


def test_prediction_replaces_axes(tmp_path: Path) -> None:
    """For a prediction the values of the predict table stand in for the suite's own, and only those."""
    suite = read(tmp_path, SUITE + PREDICT).suite("small")
    assert (suite.batch_size, suite.dtype) == ((2,), ("float64",))
    predicted = suite.for_prediction()
    assert (predicted.batch_size, predicted.dtype) == ((32, 128), ("float64",))
    assert predicted.name == "small"


@pytest.mark.parametrize("override_first", [True, False])
def test_override_wins_over_the_predict_table(tmp_path: Path, override_first: bool) -> None:
    """An override holds in predictions, in whichever order the two are applied."""
    suite = read(tmp_path, SUITE + PREDICT).suite("small")
    overrides = {"batch_size": 8, "timeout_s": 5}
    both = (
        suite.with_overrides(overrides).for_prediction()
        if override_first
        else suite.for_prediction().with_overrides(overrides)
    )
    assert (both.batch_size, both.dtype, both.timeout_s, both.name) == ((8,), ("float64",), 5.0, "small")
    assert suite.batch_size == (2,)


def test_override_keeps_the_rest_of_the_predict_table(tmp_path: Path) -> None:
    """An override of one axis leaves the other axes of the predict table."""
    suite = read(tmp_path, SUITE + PREDICT).suite("small").with_overrides({"depth": (1, 2), "models": "plain"})
    assert suite.models == ("plain",)
    assert suite.for_prediction().batch_size == (32, 128)


def test_overrides_are_checked() -> None:
    """Overrides get the types of the suite, and the same sentences."""
    assert check_overrides({"depth": 1, "passes": ["time"]}) == {"depth": (1,), "passes": ("time",)}
    with pytest.raises(ConfigError, match=r'^overrides: depth must be an integer, not the string "4"$'):
        check_overrides({"depth": "4"})
    with pytest.raises(ConfigError, match=r"^overrides: dpth is not a known key; did you mean 'depth'\?$"):
        check_overrides({"dpth": 1})


def test_suite_cannot_be_changed(tmp_path: Path) -> None:
    """A suite is frozen."""
    suite: Suite = read(tmp_path, SUITE).suite("small")
    with pytest.raises(ValueError, match="frozen"):
        suite.depth = (1,)  # type: ignore[misc]


def test_the_losses_of_a_case_are_those_that_there_are() -> None:
    """The names that a suite may give, which are written without torch, and the losses of the rules."""
    assert get_args(LossName) == tuple(LOSSES)
