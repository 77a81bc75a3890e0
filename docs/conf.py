"""The site of `make docs`: Sphinx over docs/, the notebooks and the pages that they lead to.

The folder of the project is the source folder, so that a link means the same here, on a code host
and in an editor. Notebooks are shown with the outputs that they are stored with; nothing is
executed.
"""

from datetime import UTC, datetime

from docutils import nodes
from sphinx.application import Sphinx

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


def setup(app: Sphinx) -> None:
    """What Sphinx calls when it has read this file."""
    app.connect("doctree-read", color_rust_cells)
