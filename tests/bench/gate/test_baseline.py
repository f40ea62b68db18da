"""The file that a check compares with: what is written is read, and everything else is refused in a sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate_readings import CASE, HELD, reading, without_bytes

from revbench.bench.errors import BaselineError
from revbench.bench.gate import testbed
from revbench.bench.gate.baseline import Baseline, _digest, read_baseline, text_of, write
from revbench.bench.gate.reading import Holder

FAKE = testbed.Testbed(device="fake", torch="2.15.0")
OTHER = replace(CASE, rule="sltt")
BASELINE = Baseline(
    testbed=FAKE,
    readings=[reading(), reading(case=OTHER, activations={Holder("blocks.1", "all", "temporaries"): 71})],
    command="revbench baseline write --suite small",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A baseline of two cases."""
    write(BASELINE, tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def sentence(path: Path) -> str:
    """The error that reading the file gives."""
    with pytest.raises(BaselineError) as raised:
        read_baseline(path)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(str(path), "FILE")


def changed(path: Path, *keys: str | int, value: Any) -> None:
    """Replaces a value of the file, with the digest that belongs to the new contents."""
    data = json.loads(path.read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    mark, _ = data.pop("revbench_baseline"), data.pop("digest")
    path.write_text(json.dumps({"revbench_baseline": mark, "digest": _digest(data), **data}), encoding="utf-8")


def test_what_is_written_is_read(path: Path) -> None:
    """Every integer, holder and phase; a measured one with its counters; one that is unsupported without bytes."""
    assert read_baseline(path) == BASELINE
    cuda_case = replace(CASE, device="cuda")
    measured = Baseline(
        testbed=testbed.Testbed(device="cuda", torch="2.15.0+cu130", gpu="H200", driver="580.1"),
        readings=[
            reading(case=cuda_case, cuda={"cuda_requested": 5, "cuda_allocated": 512, "cuda_reserved": 2097152}),
            without_bytes("unsupported", case=replace(cuda_case, rule="sltt")),
        ],
    )
    write(measured, path)
    assert read_baseline(path) == measured


def test_a_difference_is_a_line(path: Path) -> None:
    """Written again the file is the same; bytes of one block more change its line, the sums and the digest."""
    before = path.read_text(encoding="utf-8").splitlines()
    write(replace(BASELINE, readings=BASELINE.readings[::-1]), path)
    assert path.read_text(encoding="utf-8").splitlines() == before
    write(
        replace(BASELINE, readings=[reading({**HELD, Holder("blocks.0", "2", "saved"): 41}), BASELINE.readings[1]]),
        path,
    )
    now = path.read_text(encoding="utf-8").splitlines()
    assert len(now) == len(before)
    assert [line.strip() for line, old in zip(now, before, strict=True) if line != old] == [
        now[2].strip(),
        '"peak_bytes": 178,',
        '"activation_peak_bytes": 71,',
        '"blocks.0": {"1 saved": 30, "2 saved": 41},',
    ]


def test_white_space_is_no_edit(path: Path) -> None:
    """A formatter may write it otherwise."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4), encoding="utf-8")
    assert read_baseline(path) == BASELINE


def test_an_empty_baseline_is_one(path: Path) -> None:
    """It is for the check to say that it compares nothing."""
    write(replace(BASELINE, readings=[]), path)
    assert read_baseline(path).readings == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"peak_bytes": 177', '"peak_bytes": 178', "FILE was edited by hand or damaged: its digest is not that of "),
        ('"2.15.0"', '"2.11.0"', "FILE was edited by hand or damaged: "),
        (
            '"revbench_baseline": 1',
            '"revbench_baseline": 0',
            "FILE is of the older schema 0, ",
        ),
        ('"revbench_baseline": 1', '"revbench_baseline": 2', "FILE is of the newer schema 2, "),
        ('"revbench_baseline": 1', '"revbench_baseline": true', "FILE is not a baseline of revbench; "),
        ('"revbench_baseline": 1', '"other_baseline": 1', "FILE is not a baseline of revbench; "),
        ('"peak_bytes": 177', '"peak_bytes": NaN', "FILE is cut off, in conflict or no baseline (NaN is no number); "),
        (' "cases"', '<<<<<<< HEAD\n "cases"', "FILE is cut off, in conflict or no baseline (line 8: "),
    ],
)
def test_an_edited_file_is_refused(path: Path, old: str, new: str, expected: str) -> None:
    """By its digest, its schema or its syntax; the sentence says what to do."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert sentence(path).startswith(expected)
    assert sentence(path).endswith("with `revbench baseline write`")


@pytest.mark.parametrize("length", [0, 1, 60, 400, -4])
def test_a_file_that_was_cut_off_is_refused(path: Path, length: int) -> None:
    """Wherever it ends."""
    path.write_bytes(path.read_bytes()[:length])
    assert sentence(path).startswith("FILE is cut off, ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[1]", "FILE is not a baseline of revbench; "),
        (b"\xff\xfe", "FILE is not a baseline: it is not UTF-8 at byte 0; "),
        (b"[" * 100_000, "FILE is cut off, in conflict or no baseline ("),
        (b'{"revbench_baseline": ' + b"9" * 5000 + b"}", "FILE is cut off, in conflict or no baseline ("),
    ],
)
def test_another_file_is_refused(path: Path, data: bytes, expected: str) -> None:
    """Whatever it holds."""
    path.write_bytes(data)
    assert sentence(path).startswith(expected)


def test_no_file_is_a_sentence(path: Path) -> None:
    """A folder, or nothing at all."""
    assert sentence(path.parent).startswith("cannot read the baseline FILE: Is a directory; name it with --baseline, ")
    assert sentence(path.with_name("none")).startswith("cannot read the baseline FILE: No such file or directory; ")


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("cases", 0, "peak_bytes"), 178, "the bytes of msresnet depth=1 width=8 T=2 batch=2 do not add up"),
        (("cases", 0, "peak_bytes"), None, "msresnet depth=1 width=8 T=2 batch=2 has no bytes"),
        (("cases", 0, "peak_bytes"), "177", "cases.0.peak_bytes: Input should be a valid integer"),
        (("cases", 0, "peak_bytes"), 177.0, "cases.0.peak_bytes: Input should be a valid integer"),
        (("cases", 0, "status"), "failed", "msresnet depth=1 width=8 T=2 batch=2 has no bytes"),
        (("cases", 0, "noise"), 1, "cases.0.noise: Extra inputs are not permitted"),
        (("cases", 0, "case", "noise"), 1, "Case has no noise"),
        (("cases", 0, "case", "depth"), "1", "depth: Input should be a valid integer"),
        (("cases", 0, "case", "dtype"), "float8", "dtype: Input should be 'float32', "),
        (("cases", 0, "case", "model"), None, "model: "),
        (("cases", 0, "peak_held", "blocks.0"), {"all noise": 1}, "Input should be 'parameters', "),
        (("testbed", "moon"), "full", "Testbed has no moon"),
        (("testbed", "device"), "tpu", "device: Input should be 'cpu', 'cuda' or 'fake'"),
    ],
)
def test_what_a_file_of_ours_cannot_say_is_refused(
    path: Path, keys: tuple[str | int, ...], value: Any, expected: str
) -> None:
    """Also under a digest that is right: an unknown field would be another case than the one that was read."""
    changed(path, *keys, value=value)
    told = sentence(path)
    assert told.startswith("FILE is not a baseline that can be read (")
    assert expected in told


def test_text_is_all_there_is(path: Path) -> None:
    """No key of the file is left unread: `changed` without a change gives the same baseline."""
    changed(path, "python", value=BASELINE.python)
    assert read_baseline(path) == BASELINE
    assert text_of(read_baseline(path)) == text_of(BASELINE)
