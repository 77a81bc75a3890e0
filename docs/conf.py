"""The site of `make docs`: Sphinx over docs/, the notebooks and the pages that they lead to.

The folder of the project is the source folder, so that a link means the same here, on a code host
and in an editor. Notebooks are shown with the outputs that they are stored with; nothing is
executed.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

HERE = Path(__file__).parent
KATEX = HERE.parent / "airust" / "ui" / "vendor" / "katex"

project = "airust"
author = "airust contributors"
copyright = f"{datetime.now(UTC):%Y}, {author}"

extensions = ["myst_nb", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "README.zh-CN.md",
    "docs/**.md",
    "notebooks/*.ipynb",
    "notebooks/README.md",
    "plans/*.md",
    "courses/**.md",
    "notes/*.md",
    "reports/*.md",
    "reports/*/summary.md",
    "reports/watch/*.md",
]
exclude_patterns = [".*", "build", "runs", "crates", "**/node_modules"]

nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "attrs_inline", "dollarmath", "smartquotes"]
myst_heading_anchors = 4

html_theme = "sphinx_book_theme"
html_title = "airust"
html_extra_path = ["site"]  # the way from / to the first page
html_static_path = ["../airust/ui/vendor/katex"]
html_css_files = ["katex.min.css"]
# Formulas without a network: where Sphinx would load MathJax it loads the chat page's KaTeX.
mathjax_path = "formulas.js"
mathjax_options = {"defer": "defer"}
html_theme_options = {
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search field stands in the list of contents already
    "use_download_button": True,
}


def color_rust_cells(app: Sphinx, doctree: nodes.document) -> None:
    """A cell that begins with %%rust is Rust, whatever the language of its notebook is."""
    for block in doctree.findall(nodes.literal_block):
        if block.astext().startswith("%%rust"):
            block["language"] = "rust"


def link_pages_in_outputs(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """The HTML that a cell has put out leads from notebook to notebook; here these are pages."""
    for block in doctree.findall(nodes.raw):
        if "html" in block["format"]:
            text = re.sub(r"""(href=["'][^"':]+)\.ipynb(["'])""", r"\1.html\2", block.astext())
            block.children = [nodes.Text(text)]


def write_formulas(app: Sphinx, error: Exception | None) -> None:
    """KaTeX and its call as one classic script, which works on pages that are opened as files."""
    module = (KATEX / "katex.mjs").read_text("utf-8")
    exports = re.compile(r"\bexport\s*\{[^}]*\b(\w+) as default\b[^}]*\};?")
    library, count = exports.subn(r"window.katex = \1;", module)
    if count != 1:
        raise ValueError(f"{KATEX} exports nothing as default.")
    call = (HERE / "formulas.js").read_text("utf-8")
    script = app.outdir / "_static" / "formulas.js"
    script.write_text(f"(() => {{{library}}})();\n{call}", "utf-8")


def setup(app: Sphinx) -> None:
    """What Sphinx calls when it has read this file."""
    app.connect("build-finished", write_formulas)
    app.connect("doctree-read", color_rust_cells)
    app.connect("doctree-resolved", link_pages_in_outputs)
