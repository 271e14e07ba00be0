"""A page as a browser's parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

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
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

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
