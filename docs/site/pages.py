"""What mkdocs cannot know of this repository: pages that do not lie in docs/, the links between them, and diagrams.

The README, CONTRIBUTING, CHANGELOG and the examples stay where GitHub and newcomers look for them, and are pages of the
site all the same. Their links, and those to them, are written for the repository; here they are bent to the site. What
leads nowhere stays as it is, and is then a warning of mkdocs, which in strict mode is an error.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

import mermaidx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))

PLACES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{f"examples/{name}": f"examples/{name.removesuffix('.py')}.md" for name in EXAMPLES},
}
"""Files of the repository outside docs/, and where they are on the site."""

NARROW = {"sequence": {"width": 80, "height": 36, "actorMargin": 15}}
"""As narrow as the messages allow, which Mermaid breaks in the middle of words if it is told to."""

_SOURCES = {page: source for source, page in PLACES.items()}
_BLOCK = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> None:
    """Draw the diagrams while building: nobody who reads them needs a script, or a network to get it from."""
    fence = {"name": "mermaid", "class": "drawing", "format": drawn}
    config.mdx_configs["pymdownx.superfences"]["custom_fences"] = [fence]


def drawn(source: str, _language: str, css_class: str, *_rest: Any, **_options: Any) -> str:
    """Return a Mermaid diagram as SVG, to be scrolled where there is no room for it."""
    return f'<div class="{css_class}" tabindex="0">{mermaidx.render(source, config=NARROW).svg()}</div>'


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that lie elsewhere."""
    for source, place in PLACES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=_example(source, content) if "/" in source else content))


def _example(source: str, program: str) -> str:
    """Return a program as a page: what it says at its top, and then the rest."""
    tree = ast.parse(program)
    rest = "\n".join(program.splitlines()[tree.body[0].end_lineno :]).strip()
    return f"# `{source}`\n\n{ast.get_docstring(tree)}\n\n```python\n{rest}\n```\n"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Bend the links of a page, but for what its code blocks show."""
    here = page.file.src_uri
    source = _SOURCES.get(here, f"docs/{here}")
    parts = _BLOCK.split(markdown)
    parts[::2] = (_LINK.sub(lambda link: _bent(link[1], source, here), part) for part in parts[::2])
    return "".join(parts)


def _bent(link: str, source: str, here: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    place = PLACES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
    return link if place is None else posixpath.relpath(place, posixpath.dirname(here) or ".")
