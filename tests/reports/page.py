"""A page as a browser's parser sees it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import reports
from reports.pages import CERTIFICATE_SCRIPTS, INDEX_SCRIPTS

STATIC = Path(reports.__file__).parent / "static"
OWN = (INDEX_SCRIPTS, CERTIFICATE_SCRIPTS)
LOADING = {
    "src",
    "href",
    "srcset",
    "data",
    "action",
    "formaction",
    "poster",
    "xlink:href",
    "background",
    "ping",
}


class Page(HTMLParser):
    """Every tag with its attributes, and the text between them."""

    def __init__(self, source: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[tuple[str, str]] = []  # type and content
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1][0] == "script":
            kind = self.tags[-1][1].get("type") or ""
            self.scripts.append((kind, data))

    @property
    def foreign(self) -> list[str]:
        """Scripts that would run and are not the page's own; content of data blocks that could end them."""
        own = {"".join((STATIC / name).read_text("utf-8") for name in names) for names in OWN}
        running = [text for kind, text in self.scripts if kind != "application/json" and text.strip()]
        data = [text for kind, text in self.scripts if kind == "application/json"]
        return [text for text in running if text not in own] + [
            text for text in data if re.search("[<>&\u2028\u2029]", text)
        ]

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}

    @property
    def attributes(self) -> set[tuple[str, str]]:
        return {(tag, name) for tag, attributes in self.tags for name in attributes}

    @property
    def references(self) -> set[str]:
        """Everything a browser could load or follow."""
        return {value or "" for _, attributes in self.tags for name, value in attributes.items() if name in LOADING}


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def certificate_pages(index: Path) -> list[Path]:
    return sorted((index.parent / "certificates").glob("*.html"))
