"""MkDocs hooks: the pages that are generated from the code each time the documentation is built.

Generated: the references of the command line, of params.yaml and of the Python API, the page of each notebook, the page
of the benchmarks, and the drawing of the imports. Nothing of this is stored, so nothing can drift from the code.
"""

import sys
from pathlib import Path
from typing import Any

import cli_reference
import equations
import imports_drawing
import notebook_pages
import params_reference
import python_reference
from links import PAGES, relinked
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
BENCHMARKS = PAGES["benchmarks/README.md"]
RESULTS = '--8<-- "README.md:results"'  # not left to the extension: the links of README are not those of the page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts this checkout's ``src`` first on the path (MkDocs resets the path after it has read this file), and adds the
    fence ``math``, whose formatter is a function of a module that mkdocs.yml cannot name."""
    sys.path.insert(0, str(ROOT / "src"))
    fence = {"name": "math", "class": "math", "format": equations.format_fence}
    options: dict[str, Any] = config.mdx_configs.setdefault("pymdownx.superfences", {})
    options["custom_fences"] = [fence]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    pages = {
        "reference/cli.md": cli_reference.render(),
        "reference/params.md": params_reference.render(ROOT / "params.yaml"),
        "reference/python-api.md": python_reference.render(),
        BENCHMARKS: relinked((ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"), "benchmarks", BENCHMARKS),
        "images/rooms.svg": imports_drawing.render(ROOT / "src" / "wordgaze"),
    }
    pages |= {f"images/{path.name}": path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.svg")}
    notebooks = [file for file in files if file.src_uri.endswith(".ipynb")]
    for file in notebooks:
        path = Path(config.docs_dir) / file.src_uri
        pages[file.src_uri.removesuffix(".ipynb") + ".md"] = notebook_pages.render(path)
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Puts the results of README in where a page asks for them."""
    if RESULTS not in markdown:
        return markdown
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("[start:results] -->\n")[2].partition("<!-- --8<-- [end:results]")[0]
    return markdown.replace(RESULTS, relinked(section, "", page.file.src_uri))
