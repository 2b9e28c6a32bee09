"""Settings of the site, which `make docs` builds; every page is executed."""

import ast
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sphinx.pycode import ModuleAnalyzer

import stbp_jax

project = "stbp_jax"
author = "stbp_jax contributors"
copyright = author  # the name that Sphinx asks for
release = stbp_jax.__version__
repository = "https://github.com/OWNER/stbp_jax"  # a placeholder until the first release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["examples/by_hand"]

# Pages.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # tables

# Docstrings: a word in single backquotes is code; shapes of arrays are in the text.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False

html_theme = "pydata_sphinx_theme"
html_title = "stbp_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options: dict[str, Any] = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False


def find_docstrings_of_data() -> None:
    """Give autodoc the docstrings of the data that packages export, such as types of functions.

    It looks for them in the `__init__.py` of a package alone, and they are where the data are.
    """
    for init in Path(stbp_jax.__file__).parent.glob("*/__init__.py"):
        package = f"stbp_jax.{init.parent.name}"
        exported = getattr(importlib.import_module(package), "__all__", ())
        analyzer = ModuleAnalyzer.for_module(package)  # Sphinx keeps it
        analyzer.analyze()
        for file in init.parent.rglob("*.py"):
            for one, after in itertools.pairwise(ast.parse(file.read_text()).body):
                match one, after:
                    case ast.Assign([ast.Name(name)]), ast.Expr(ast.Constant(str(text))):
                        if name in exported:
                            lines = inspect.cleandoc(text).splitlines()
                            analyzer.attr_docs["", name] = [*lines, ""]


def skip_fields(app: Any, what: str, name: str, found: Any, skip: bool, options: Any) -> bool:
    """Leave out the fields of a NamedTuple, which its docstring describes."""
    return skip or type(found).__name__ in ("_tuplegetter", "wrapper_descriptor")


def to_rst(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Rewrite what docstrings share with Markdown alone: tables, and the bars of |v|."""
    table = [line for line in lines if line.startswith("|")]
    text = [line.replace("|", r"\|") for line in lines if line not in table]
    if table:
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
        text += ["", ".. list-table::", "   :header-rows: 1", ""]
        for row in (cells[0], *cells[2:]):
            text += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
        text += [""]
    if what in ("data", "attribute", "property"):
        text[:0] = ["..", ""]  # napoleon reads a first line "words: more" as "type: description"
    lines[:] = text


def link_to_repository(app: Any, page: str, source: list[str]) -> None:
    """Point links to files outside of the site to the repository."""
    root = r"(?:\.\./)+(?=experiments|tests|stbp_jax|README\.md)"
    source[0] = re.sub(rf"\]\({root}", f"]({repository}/blob/main/", source[0])
    if page.startswith("examples/"):
        source[0] = source[0].replace(
            "](by_hand)", f"]({repository}/blob/main/docs/examples/by_hand)"
        )


def setup(app: Any) -> None:
    """Prepare autodoc, and connect the functions above to Sphinx."""
    find_docstrings_of_data()
    connect: Callable[..., Any] = app.connect
    connect("source-read", link_to_repository)
    connect("autodoc-skip-member", skip_fields)
    connect("autodoc-process-docstring", to_rst, priority=400)  # before napoleon
