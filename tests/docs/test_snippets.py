"""Whoever copies the snippets of a page, one after the other, gets what the page says."""

from pathlib import Path

from snippets import blocks_of, path_with, run_revbench, write_file

import revbench

DOCS = Path(revbench.__file__).resolve().parent / "docs"
INSTALLING = "pip install"


def follow(page: str, folder: Path) -> list[str]:
    """Writes the files and runs the commands of a page in order; returns what the commands printed.

    A block of the language `text` is what the command before it prints, lines of `...` aside.
    """
    printed: list[str] = []
    for block in blocks_of((DOCS / page).read_text(encoding="utf-8")):
        if block.language == "bash":
            for command in block.text.splitlines():
                if not command.startswith(INSTALLING):
                    name, *arguments = command.split()
                    assert name == "revbench"
                    done = run_revbench(*arguments, cwd=folder, PYTHONPATH=path_with(folder))
                    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
                    printed.append(done.stdout)
        elif block.language == "text":
            said = [line for line in block.text.splitlines() if line.strip() != "..."]
            assert said
            assert [line for line in said if " ".join(line.split()) not in " ".join(printed[-1].split())] == []
        else:
            assert write_file(block, folder), block.text
    return printed


def test_the_tutorial(tmp_path: Path) -> None:
    """From a network to a figure, a table for a paper, and who holds the bytes."""
    printed = follow("tutorial.md", tmp_path)
    run = tmp_path / "runs" / "mine-predicted"
    assert {f"mine.{suffix}" for suffix in ("png", "csv", "html", "tex", "md", "pdf")} <= {
        path.name for path in run.iterdir()
    }
    assert len((run / "mine.csv").read_text(encoding="utf-8").splitlines()) == 1 + 5
    assert len(printed) == 4


def test_the_tutorial_has_ten_lines() -> None:
    """Lines of code and commands, but for the suite, which is data."""
    blocks = list(blocks_of((DOCS / "tutorial.md").read_text(encoding="utf-8")))
    commands = [line for block in blocks if block.language == "bash" for line in block.text.splitlines()]
    code = [line for block in blocks if block.language == "python" for line in block.text.splitlines() if line.strip()]
    assert len(commands) <= 10
    assert len(code) <= 10


def test_your_own_model_rule_and_suite(tmp_path: Path) -> None:
    """Each in ten lines, found by its name and measured."""
    of_module, of_model, of_rules, of_suite = follow("extend.md", tmp_path)
    assert "mynets:build" in of_module
    assert "mynet" in of_model
    assert "late-1" in of_rules
    assert "sltt" in of_suite
    rows = (tmp_path / "runs" / "smoke-predicted" / "smoke.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",late-1," in row and ",ok," in row for row in rows) == 2


def test_each_takes_ten_lines() -> None:
    """Of Python, imports included, and of TOML."""
    blocks = [
        block for block in blocks_of((DOCS / "extend.md").read_text(encoding="utf-8")) if block.language != "bash"
    ]
    lines = [[line for line in block.text.splitlines() if line and not line.startswith("#")] for block in blocks]
    assert len(lines) == 6
    assert max(map(len, lines)) <= 10
