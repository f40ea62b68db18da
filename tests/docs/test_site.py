"""The site as it is built: strictly, whole, and without a word to any other host."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import markdown
import pytest

import revbench
from revbench.docs.generator import __main__ as generator

ROOT = Path(revbench.__file__).resolve().parent
FORMULAS = ["revbench.docs.generator.formulas"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by the command of `make docs`."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("the builder is not installed; pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("documentation")
    (folder / "path").mkdir()
    (folder / "path" / "revbench").symlink_to(ROOT, target_is_directory=True)
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (folder / "mkdocs.yml").write_text(text, encoding="utf-8")
    generator.main(folder / "build" / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "path"), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "site"


def test_every_page_is_built(site: Path) -> None:
    """One file a page, with its heading."""
    sources = (site.parent / "docs").rglob("*.md")
    for source in sources:
        page = site / source.relative_to(site.parent / "docs").with_suffix(".html")
        assert "<h1" in page.read_text(encoding="utf-8"), page


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture has a host; links that a reader may follow do."""
    loading = re.compile(r"""<(?:(?:script|img|iframe|source)[^>]*\ssrc|link[^>]*\shref)=["']?(?:https?:)?//""")
    imported = re.compile(r"""(?:url\(|@import\s+)["']?(?:https?:)?//""")
    pages, styles = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 20
    assert styles
    assert [page for page in pages if loading.search(page.read_text(encoding="utf-8"))] == []
    assert [path for path in (*styles, *pages) if imported.search(path.read_text(encoding="utf-8"))] == []
    assert loading.search('<link rel="stylesheet" href="https://fonts.example/x.css">')


def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    """As MathML, none of them left as it was written."""
    for name in ("numbers", "energy", "papers/revsnn", "papers/sltt"):
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        assert "<math" in text
        assert "arithmatex" not in text
        assert r"\(" not in text


def test_the_reference_has_what_it_promises(site: Path) -> None:
    """Signature and raised errors of what a plugin calls."""
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in ("register", "ModelEntry", "register_rule", "step_memory", "Tracker", "explain", "predict"):
        assert re.search(rf'id="revbench\.[\w.]*\.{name}"', text), name
    assert text.count("PluginError") >= 2


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a $x^2$ b", "<msup><mi>x</mi><mn>2</mn></msup>"),
        ("$$\na < b\n$$", 'display="block"'),
        ("$a < b$", "<mo>&lt;</mo>"),
        (r"$\lVert x \rVert$", "‖"),
    ],
)
def test_a_formula(text: str, drawn: str) -> None:
    """In a line, and by itself."""
    page = markdown.markdown(text, extensions=FORMULAS)
    assert "<math" in page
    assert drawn in page.replace("&#x02016;", "‖").replace("&#x0003C;", "&lt;")


@pytest.mark.parametrize("text", ["`$x$`", "costs $5", "    $x$"])
def test_what_is_no_formula(text: str) -> None:
    """Code and money stay."""
    assert "<math" not in markdown.markdown(text, extensions=FORMULAS)
