r"""Formulas of Markdown, `$...$` and `$$...$$`, as MathML, which browsers draw without a script.

An extension of Python-Markdown, over the one of pymdownx that finds the formulas.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.postprocessors import Postprocessor
from pymdownx.arithmatex import ArithmatexExtension

_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


class _AsMathML(Postprocessor):  # type: ignore[misc]
    def run(self, text: str) -> str:
        return _FORMULA.sub(_drawn, text)


class FormulasExtension(ArithmatexExtension):  # type: ignore[misc]
    """Draws formulas."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"generic": True, **options})

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the library calls it so
        """Registers what finds the formulas and, after all else, what draws them."""
        super().extendMarkdown(md)
        md.postprocessors.register(_AsMathML(md), "formulas", 0)


def makeExtension(**options: Any) -> FormulasExtension:  # noqa: N802 - the library calls it so
    """Called by Python-Markdown."""
    return FormulasExtension(**options)


def _drawn(found: re.Match[str]) -> str:
    text = html.unescape(found[2]).strip()
    return str(convert(text[2:-2].strip(), display="block" if text.startswith(r"\[") else "inline"))
