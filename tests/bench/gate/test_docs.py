"""What docs/check.md and the workflow beside it promise to a maintainer who copies them."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from revbench.bench import errors
from revbench.bench.config import load_config
from revbench.bench.gate.times import MIN_ROUNDS
from revbench.bench.gate.tolerances import Tolerances

Command = Callable[..., "subprocess.CompletedProcess[str]"]
DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "check.md").read_text(encoding="utf-8")
WORKFLOW = (DOCS / "memory-check.yml").read_text(encoding="utf-8")
CODES = {
    errors.EXIT_OK: "nothing grew",
    errors.EXIT_REGRESSION: "a number grew beyond its tolerance",
    errors.EXIT_USAGE: "wrong usage; ",
    errors.EXIT_CASE_FAILED: "a case failed ",
    errors.EXIT_NOTHING_COMPARED: "nothing was compared: ",
    errors.EXIT_IMPROVED: "with `--strict`: ",
}


def test_exit_codes_are_those_of_the_program() -> None:
    """Every code and what it means."""
    rows = dict(re.findall(r"^\| (\d) \| (.*) \|$", PAGE, re.M))
    assert {int(code) for code in rows} == set(CODES)
    assert all(rows[str(code)].startswith(text) for code, text in CODES.items())


def test_the_snippets_are_read(tmp_path: Path) -> None:
    """The suite is one, and the tolerances shown are the defaults."""
    blocks = [re.sub("^   ", "", block, flags=re.M) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.S)]
    path = tmp_path / "bench.toml"
    path.write_text("\n".join(blocks), encoding="utf-8")
    config = load_config(path)
    assert config.suite("memory").models == ("nets:build",)
    assert config.check.tolerance == Tolerances()
    assert f"`tolerance.time` ({Tolerances().time})".replace("%", " %") in PAGE
    assert {7: "seven"}[MIN_ROUNDS] in PAGE


def commands() -> list[str]:
    """Every `revbench ...` of the page and the workflow."""
    found = re.findall(r"revbench (?:check|baseline)[^`\n]*", PAGE + WORKFLOW)
    return sorted({line.partition(" writes")[0].partition(" compares")[0].strip() for line in found})


@pytest.mark.parametrize("command", commands())
def test_every_option_is_known(revbench: Command, command: str) -> None:
    """Options in the commands are those of `--help`."""
    words = shlex.split(command)[1:]
    subcommand = [word for word in words[: 1 + (words[0] == "baseline")] if not word.startswith("-")]
    shown = revbench(*subcommand, "--help").stdout
    assert [word for word in words if word.startswith("--") and word not in shown] == []


def test_the_workflow_is_one() -> None:
    """It parses, its steps are official actions or commands, and what it uploads is what the check writes."""
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(WORKFLOW)
    steps = workflow["jobs"]["check"]["steps"]
    assert all(
        re.fullmatch(r"actions/(checkout|setup-python|upload-artifact)@v\d+", step["uses"])
        for step in steps
        if "uses" in step
    )
    written = re.search(r"--junit (\S+)", WORKFLOW)
    [upload] = [step["with"]["path"] for step in steps if "upload" in step.get("uses", "")]
    assert written
    assert written[1] == upload
