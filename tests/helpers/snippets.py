"""What a reader copies from a page: files, commands, and what the commands are said to print."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/.]+\.(?:py|toml))\n")
_PROJECT = re.compile(r"# pyproject.toml of (\w+)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, as the fence says it, and its text."""

    language: str
    text: str


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    return (Block(*found.groups()) for found in _BLOCK.finditer(page))


def install_plugin(site: Path, package: str, entry_points: str) -> None:
    """Announces a package in a folder on the path as pip does.

    Args:
        site: the folder.
        package: what is in it already, or will be.
        entry_points: as pyproject.toml has them, `[project.entry-points."GROUP"]` and lines below.
    """
    (site / package).mkdir(parents=True, exist_ok=True)
    (site / package / "__init__.py").touch()
    metadata = site / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    written = re.sub(r'\[project\.entry-points\."([\w.]+)"\]', r"[\1]", entry_points).replace('"', "")
    (metadata / "entry_points.txt").write_text(written, encoding="utf-8")


def write_file(block: Block, folder: Path) -> bool:
    """Writes a block that begins with the name of a file; says whether it does.

    One that begins as the pyproject.toml of a package announces that package.
    """
    if project := _PROJECT.match(block.text):
        install_plugin(folder, project[1], block.text.partition("\n")[2])
        return True
    if named := _FILE.match(block.text):
        path = folder / named[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        return True
    return False


def run_revbench(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m revbench` in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "revbench", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def path_with(folder: Path) -> str:
    """The value of PYTHONPATH with a folder before what is there."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
