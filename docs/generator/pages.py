"""All pages of the site: those that a person wrote, with tables in the place of their marks, and the generated ones."""

from collections.abc import Mapping
from pathlib import Path

import revbench
from revbench.bench.config import load_config
from revbench.docs.generator.commands import commands_page
from revbench.docs.generator.complexity import complexity_table
from revbench.docs.generator.measured import traced_run, traced_runs
from revbench.docs.generator.papers import paper_sections, paper_title, papers_page
from revbench.docs.generator.suites import suites_page
from revbench.reports.published import published_claims, published_numbers, published_papers

ROOT = Path(revbench.__file__).resolve().parent
WRITTEN = ROOT / "docs"
GENERATOR = "generator"
COMPLEXITY_MARK = "<!-- complexity table -->"
PAPERS = "papers"


def generated_pages() -> Mapping[str, str]:
    """The pages that are made from data, wholly or below what a person wrote, by path."""
    suites = load_config(ROOT / "bench.toml")
    pages = {
        "index.md": with_complexity_table((WRITTEN / "index.md").read_text(encoding="utf-8")),
        "commands.md": commands_page(),
        "suites.md": suites_page(suites),
        f"{PAPERS}/index.md": papers_page(published_papers(), published_numbers()),
    }
    for paper in published_papers():
        path = f"{PAPERS}/{paper.key}.md"
        written = WRITTEN / path
        above = written.read_text(encoding="utf-8") if written.exists() else paper_title(paper)
        below = paper_sections(paper, published_claims(), published_numbers(), traced_runs(), suites.suites)
        pages[path] = f"{above.strip()}\n\n{below}\n"
    return pages


def written_files() -> Mapping[str, bytes]:
    """What a person wrote or drew, by path."""
    files = (path for path in WRITTEN.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    found = {path.relative_to(WRITTEN): path for path in files}
    return {str(path.as_posix()): file.read_bytes() for path, file in found.items() if path.parts[0] != GENERATOR}


def with_complexity_table(page: str) -> str:
    """The page with the complexity table, and what made it, in the place of its mark.

    Raises:
        ValueError: the page has no mark.
    """
    if COMPLEXITY_MARK not in page:
        raise ValueError(f"index.md has no place for the table; write {COMPLEXITY_MARK} there")
    run = traced_run("complexity")
    table = complexity_table(run.table("complexity"))
    return page.replace(COMPLEXITY_MARK, f"```\n{run.command}\n```\n\n{table}\n\nMeasured at {run.origin}.")
