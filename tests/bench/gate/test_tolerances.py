"""Tolerances as `bench.toml` says them, and the sentence for each mistake."""

from pathlib import Path

import pytest

from revbench.bench.config import find_config, load_config
from revbench.bench.errors import ConfigError
from revbench.bench.gate.tolerances import Tolerances

SUITE = '[suites.s]\ntitle = "t"\nclaim = "c"\nmodels = "msresnet"\n'
TAUGHT = 'must be a number of bytes such as 4096 or a share such as "5%"'


def read(tmp_path: Path, lines: str) -> Tolerances:
    """The tolerances of a suite file with these lines."""
    path = tmp_path / "bench.toml"
    path.write_text(SUITE + lines, encoding="utf-8")
    return load_config(path).check.tolerance


def test_default_and_own_file_agree(tmp_path: Path) -> None:
    """Without a table they are those that the package's file shows; what is traced has none."""
    default = read(tmp_path, "")
    assert default == load_config(find_config()).check.tolerance
    shown = {name: str(getattr(default, name)) for name in Tolerances.model_fields}
    assert shown == {
        "traced": "0",
        "cuda_requested": "0",
        "cuda_allocated": "2%",
        "cuda_reserved": "5%",
        "time": "10%",
    }


def test_each_is_chosen(tmp_path: Path) -> None:
    """Bytes or a share, exactly; the others stay as they are."""
    found = read(tmp_path, '[check]\ntolerance.traced = 512\ntolerance.cuda_reserved = "0.1 %"\n')
    assert found.traced.allows(0, 512)
    assert not found.traced.allows(0, 513)
    assert found.cuda_reserved.allows(10**18, 10**18 + 10**15)
    assert not found.cuda_reserved.allows(10**18, 10**18 + 10**15 + 1)
    assert found.cuda_allocated == Tolerances().cuda_allocated


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("[check]\ntolerance.traced = -1", f"check.tolerance.traced {TAUGHT}, not the integer -1"),
        ("[check]\ntolerance.traced = 0.5", f"check.tolerance.traced {TAUGHT}, not the float 0.5"),
        ("[check]\ntolerance.traced = true", f"check.tolerance.traced {TAUGHT}, not the boolean true"),
        ('[check]\ntolerance.cuda_reserved = "5"', f'check.tolerance.cuda_reserved {TAUGHT}, not the string "5"'),
        ('[check]\ntolerance.cuda_reserved = "-5%"', f'check.tolerance.cuda_reserved {TAUGHT}, not the string "-5%"'),
        ("[check]\ntolerance.time = 5", 'check.tolerance.time must be a share such as "10%", not the integer 5'),
        ("[check]\ntolerance.tracd = 5", "check.tolerance.tracd is not a known key; did you mean 'traced'?"),
        ("[check]\ntolerances.traced = 5", "check.tolerances is not a known key; did you mean 'tolerance'?"),
        ("[check]\ntolerance = 5", "check.tolerance must be a table, not the integer 5"),
        ("[chek]\ntolerance.traced = 5", "chek is not a known key; did you mean 'check'?"),
    ],
)
def test_a_mistake_is_taught(tmp_path: Path, lines: str, expected: str) -> None:
    """One sentence with the key, what it must be and what it is."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, lines)
    assert str(raised.value) == f"{tmp_path / 'bench.toml'}: {expected}"
