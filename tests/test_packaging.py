"""What a wheel contains, and that it works from an empty folder."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import revbench

ROOT = Path(revbench.__file__).resolve().parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCE_FOLDERS = ("bench", "models", "reports")
SUFFIXES = (".py", ".c", ".toml", ".html", ".css", ".js")


def python_folders() -> set[str]:
    """Every folder of the source that holds Python files, as a package name."""
    files = (path for name in SOURCE_FOLDERS for path in (ROOT / name).rglob("*.py"))
    return {"revbench", *(".".join(("revbench", *path.parent.relative_to(ROOT).parts)) for path in files)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the repository's files."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for pattern in ("*.py", "*.toml", "*.md", "LICENSE", "py.typed", *(f"{name}/**/*" for name in SOURCE_FOLDERS)):
        for path in ROOT.glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                target = source / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_every_folder_with_python_is_a_listed_package() -> None:
    """A new folder that is forgotten in pyproject.toml would be missing from the wheel."""
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == python_folders()


def test_every_package_says_what_it_is() -> None:
    """Each package has an `__init__.py` with a docstring."""
    for name in python_folders():
        init = ROOT.joinpath(*name.split(".")[1:], "__init__.py")
        assert init.read_text(encoding="utf-8").startswith('"""'), name


def test_the_wheel_holds_every_module_and_the_suites(wheel: Path) -> None:
    """All Python files, data, `bench.toml`, `py.typed` and the C source are in it, and nothing outside `revbench`."""
    held = set(zipfile.ZipFile(wheel).namelist())
    files = (path for name in SOURCE_FOLDERS for path in (ROOT / name).rglob("*"))
    sources = {path.relative_to(ROOT) for path in files if path.suffix in SUFFIXES}
    expected = {f"revbench/{path.as_posix()}" for path in sources}
    expected |= {"revbench/__init__.py", "revbench/__main__.py", "revbench/bench.toml", "revbench/py.typed"}
    assert expected <= held
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == {"revbench"}


def test_the_wheel_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, without the repository: suites are found and a prediction is made."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    command = [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); "]
    command[-1] += "from revbench.bench.cli import main; import revbench; print(revbench.__file__); main()"
    arguments = ["run", "--suite", "smoke", "--predict", "--limit", "1"]
    done = subprocess.run(
        [*command, str(site), *arguments],
        cwd=empty,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert (empty / "runs" / "smoke-predicted" / "smoke.csv").exists()
