"""A page as a headless Chromium shows it, read back as a document."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--window-size=1280,1000", "--virtual-time-budget=2000"),
)


class Element:
    """One element of the rendered page."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.texts: list[str] = []

    def find_all(self, tag: str, **attributes: str) -> list[Element]:
        """Descendants by tag and attributes, in which _ stands for -."""
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        found = [self] if self.tag == tag and wanted.items() <= self.attributes.items() else []
        return found + [one for child in self.children for one in child.find_all(tag, **attributes)]

    def find(self, tag: str, **attributes: str) -> Element:
        (found,) = self.find_all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def rows(self) -> list[list[str]]:
        """The cells of a table, without its header."""
        return [[cell.text for cell in row.find_all("td")] for row in self.find_all("tr") if row.find_all("td")]


class _Reader(HTMLParser):
    _VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("document", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in self._VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if any(element.tag == tag for element in self.open):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        for element in self.open:  # an element's text is that of all within
            element.texts.append(data)


def render(page: Path, profile: Path) -> Element:
    """The document after Chromium has laid it out; the test is skipped where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine; with Debian: apt install chromium")
    command = [chromium, *_FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.absolute().as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=600, check=True)
    reader = _Reader()
    reader.feed(done.stdout.decode("utf-8"))
    return reader.open[0]
