"""Generated pages say all that the data says, and every page can be reached and leads somewhere."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

import revbench
from revbench.bench.cli import app
from revbench.bench.config import load_config
from revbench.docs.generator import __main__ as generator
from revbench.docs.generator.commands import commands_page
from revbench.docs.generator.complexity import complexity_table, rows_about
from revbench.docs.generator.measured import traced_run, traced_runs
from revbench.docs.generator.pages import COMPLEXITY_MARK, generated_pages, with_complexity_table, written_files
from revbench.docs.generator.papers import claims_about, growth, papers_page, published
from revbench.docs.generator.suites import suites_page
from revbench.reports.published import published_claims, published_numbers, published_papers

ROOT = Path(revbench.__file__).resolve().parent
SUITES = load_config(ROOT / "bench.toml")
WRITTEN = {path: data.decode() for path, data in written_files().items() if path.endswith(".md")}
PAGES = WRITTEN | dict(generated_pages())
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
MAIN = ("RevSNN", "T-RevSNN", "OTTT", "SLTT", "Spike-driven Transformer")


def commands() -> list[list[str]]:
    """All commands, as words."""
    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():
        found += [[name, sub] for sub in getattr(command, "commands", {})] or [[name]]
    return found


def cells(table: str) -> list[list[str]]:
    """The cells of a table's rows, but for its two lines of heading; a bar that is escaped is a bar."""
    rows = [line for line in table.splitlines() if line.startswith("|")]
    split = [re.split(r"(?<!\\)\|", row.strip().strip("|")) for row in rows]
    return [[cell.strip() for cell in row] for row in split if not set("".join(row)) <= set(" -:")]


# ------------------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_there_with_every_option(words: list[str]) -> None:
    """Those that its own help lists."""
    page = commands_page()
    section = re.search(rf"^##+ `revbench {' '.join(words)}`$(.*?)(?=^##+ `|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
    options = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]+", shown))
    assert options >= {"--help"}
    assert [option for option in sorted(options) if option not in section[1]] == []


def test_the_commands_have_exit_codes() -> None:
    """The help's last words too."""
    assert "Exit codes: 0 fine" in commands_page()
    assert "**Commands**" not in commands_page()


# -------------------------------------------------------------------------------------------------------------- suites


@pytest.mark.parametrize("name", SUITES.suites)
def test_every_suite_is_there(name: str) -> None:
    """With its models, its axes and the commands that run it."""
    section = suites_page(SUITES).partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    suite = SUITES.suites[name]
    assert all(f"`{model}`" in section for model in suite.models)
    assert f"revbench run --suite {name}\n" in section
    assert (f"--suite {name} --predict" in section) == ("memory" in suite.passes)
    assert set(suite.model_dump(exclude_unset=True)) - {"title", "claim", "mirrors", "predict"} <= {
        row[0] for row in cells(section)
    }


def test_a_suite_with_any_words(tmp_path: Path) -> None:
    """What looks like markup is text; what predictions replace is told apart."""
    path = tmp_path / "bench.toml"
    path.write_text(
        '[suites."my suite"]\ntitle = "a|b <b>"\nclaim = "*2* & [x](y)"\nmodels = ["vggbn"]\n'
        "depth = [1, 2]\ntimeout_s = 90.5\npredict = { depth = [4], width = 64 }\n",
        encoding="utf-8",
    )
    page = suites_page(load_config(path))
    assert "[my suite](#my-suite)" in page
    assert r"**a\|b \<b\>.** \*2\* \& \[x\](y)" in page
    told = {row[0]: row[1] for row in cells(page.partition("## my suite")[2])}
    assert told == {
        "key": "values",
        "models": "`vggbn`",
        "passes": "`memory`, `time`",
        "depth": "1, 2",
        "timeout_s": "90.5",
        "depth, predicted": "4",
        "width, predicted": "64",
    }


# -------------------------------------------------------------------------------------------------------------- papers


@pytest.mark.parametrize("paper", published_papers(), ids=lambda paper: paper.key)
def test_every_published_number_is_on_its_page(paper: object) -> None:
    """As many numbers as the file holds, each as it was printed, with where it was read."""
    key = paper.key  # type: ignore[attr-defined]
    own = [number for number in published_numbers() if number.paper == key]
    page = PAGES[f"papers/{key}.md"]
    assert own
    shown = 0
    for place in dict.fromkeys(number.place for number in own):
        section = page.partition(f"\n### {place.replace('_', chr(92) + '_')}\n")[2].partition("\n### ")[0]
        numbers = [number for number in own if number.place == place]
        width = len({(number.quantity, number.unit) for number in numbers})
        values = [cell for row in cells(section)[1:] for cell in row[-width:] if cell != "-"]
        told = [f"{number.value:,}".removesuffix(".0") for number in numbers]
        assert sorted(values) == sorted(told)
        shown += len(values)
    assert shown == len(own)


def test_settings_stand_in_the_rows_or_above() -> None:
    """What differs has a column, what does not is said once; what the source does not tell is a dash."""
    page = published([number for number in published_numbers() if number.place == "figure of memory against T"])
    (first, *_), (second, *_) = (section.splitlines() for section in page.split("### ")[1:3])
    assert first == second == "figure of memory against T"
    osr = page.split("### ")[1]
    assert "All rows: data CIFAR-10, batch 128, GPU RTX 4090, counter unknown." in osr
    assert cells(osr)[0] == ["method", "our rule", "T", "memory, GB or GiB"]
    assert cells(osr)[1:3] == [["online", "-", "2", "3"], ["online", "-", "30", "3"]]


def test_claims_stand_beside_verdicts() -> None:
    """Those of the table that the repository holds, cost by cost."""
    (trevsnn,) = (paper for paper in published_papers() if paper.name == "T-RevSNN")
    rows = traced_run("complexity").table("complexity")
    table = cells(growth(claims_about(trevsnn, published_claims()), traced_runs()))[1:]
    assert len(table) == len(published_claims()) == len(rows)
    memory = {row[0]: row for row in table if row[1] == "training memory"}
    assert set(memory) == {"STBP", "OTTT", "SLTT", "SLTT-K", "RevSNN", "T-RevSNN"}
    for claim in published_claims():
        (measured,) = rows_about(claim, rows)
        (shown,) = (row for row in table if (row[0], row[1]) == (claim.method, claim.cost.replace("_", " ")))
        star = r"\*" if claim.provenance == "derived" else ""
        assert shown[2] == claim.growth + star
        assert (shown[5], shown[6]) == (measured["fitted"], measured["verdict"])
    assert memory["T-RevSNN"][6] == "inconsistent"


def test_a_claim_that_was_not_measured_says_so() -> None:
    """No verdict without a run."""
    (ottt,) = (paper for paper in published_papers() if paper.name == "OTTT")
    table = cells(growth(claims_about(ottt, published_claims()), []))[1:]
    assert [row[6] for row in table] == ["not measured"] * 3


def test_a_method_is_on_the_page_of_its_paper() -> None:
    """SLTT-K is SLTT's; RevSNN is not T-RevSNN's."""
    about = {paper.name: claims_about(paper, published_claims()) for paper in published_papers()}
    assert {claim.method for claim in about["SLTT"]} == {"SLTT", "SLTT-K"}
    assert {claim.method for claim in about["RevSNN"]} == {"RevSNN"}
    assert about["STDL"] == []


def test_the_measured_numbers_are_beside_the_published() -> None:
    """The ratio of the paper's abstract, by the run that prints it."""
    page = PAGES["papers/revsnn.md"]
    rows = [row for run in traced_runs() for row in run.table("published") if row["paper"] == "revsnn"]
    section = page.partition("## Its numbers beside ours")[2].partition("\n## ")[0]
    found = [row for row in cells(section) if row[0] != "quantity"]
    assert len(found) == len(rows) > 20
    assert sum(row[5] != "-" for row in found) == sum(bool(row["ratio"]) for row in rows)
    assert "revbench run --suite cifar --predict" in section


@pytest.mark.parametrize("name", MAIN)
def test_the_main_papers_are_introduced(name: str) -> None:
    """By a person, before the tables."""
    (paper,) = (paper for paper in published_papers() if paper.name == name)
    above = PAGES[f"papers/{paper.key}.md"].partition("\n## ")[0]
    assert above.startswith(f"# {name} ({paper.venue})\n")
    assert len(above.split()) > 60
    assert paper.link is None or f"({paper.link})" in above


def test_the_overview_counts() -> None:
    """All papers, all numbers, most numbers first."""
    page = papers_page(published_papers(), published_numbers())
    counts = [int(row[2]) for row in cells(page)[1:]]
    assert sum(counts) == len(published_numbers())
    assert counts == sorted(counts, reverse=True)
    assert f"{sum(counts):,} of {len(counts)} papers" in page


# ----------------------------------------------------------------------------------------------------------- the whole


def test_the_first_page_has_the_complexity_table() -> None:
    """With the command that makes it, and the commit it was made at."""
    page = PAGES["index.md"]
    assert COMPLEXITY_MARK not in page
    assert complexity_table(traced_run("complexity").table("complexity")) in page
    assert "revbench run --suite complexity --predict" in page
    assert re.search(r"Measured at commit [0-9a-f]{10}, torch", page)
    with pytest.raises(ValueError, match="has no place for the table"):
        with_complexity_table("# A page")


def test_a_missing_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that makes it."""
    monkeypatch.setattr("revbench.docs.generator.measured.TRACED", tmp_path)
    with pytest.raises(FileNotFoundError, match="complexity is missing; make it with `make traced`"):
        traced_run("complexity")


def test_what_is_held_was_measured_at_a_commit() -> None:
    """Without changes beside it, so that anyone can measure it again."""
    runs = traced_runs()
    assert {run.suite for run in runs} >= {"depth-scaling", "cifar", "published-revsnn", "complexity"}
    for run in runs:
        assert re.fullmatch(r"commit [0-9a-f]{10}, torch \S+, \d{4}-\d\d-\d\d", run.origin), run.origin
        assert run.table("")
        assert run.table("nothing") == []
        assert run.suite in SUITES.suites


def test_the_makefile_makes_what_is_held() -> None:
    """All of it, and no more."""
    listed = re.search(r"^TRACED := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed
    assert set(listed[1].split()) == {run.suite for run in traced_runs()}


def test_every_page_is_in_the_navigation() -> None:
    """And every entry is a page."""

    def listed(part: object) -> list[str]:
        if isinstance(part, dict):
            return [path for value in part.values() for path in listed(value)]
        return [path for each in part for path in listed(each)] if isinstance(part, list) else [str(part)]

    assert sorted(listed(CONFIG["nav"])) == sorted(PAGES)


def test_every_link_and_picture_leads_somewhere() -> None:
    """The builder checks pages and their sections; here pictures and other files too."""
    known = set(PAGES) | set(written_files())
    seen = 0
    for page, text in PAGES.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"(?<!\\)\]\((?!https?:|#)([^)\s]+?)(?:#[^)]*)?\)", prose):
            path = (Path("/") / page).parent / target
            assert str(path.resolve()).lstrip("/") in known, f"{page} links to {target}"
            seen += 1
    assert seen > 40


def test_pages_that_a_person_wrote_lead_to_pages_that_a_person_wrote() -> None:
    """So that they can be read where the repository is, without being built."""
    written = set(written_files())
    for page, text in WRITTEN.items():
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (Path(page).parent / target).as_posix() in written, f"{page} links to {target}"


def test_the_sources_are_written_and_old_ones_removed(tmp_path: Path) -> None:
    """Into any folder; a second build changes nothing."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "gone.md").write_text("# Gone", encoding="utf-8")
    for _ in range(2):
        generator.main(tmp_path)
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        assert found == set(PAGES) | set(written_files())
        assert not [path for path in found if path.endswith(".py")]
    assert (tmp_path / "suites.md").read_text(encoding="utf-8") == PAGES["suites.md"]


def test_the_extra_has_pins() -> None:
    """As the others: a lower bound in pyproject.toml, the tested version in constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    for needed in project["project"]["optional-dependencies"]["docs"]:
        name, _, _ = needed.partition(">=")
        assert f"\n{name.lower()}==" in pins
