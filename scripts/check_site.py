"""Look at a built site: does every link inside it lead somewhere, has every picture its words?

    python scripts/check_site.py build/docs

Addresses of other hosts are left alone: a site can be checked without a network. Exit code 1, and a
line for each thing that is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}


class Page(HTMLParser):
    """The links of a page, the places that links may name, and its pictures without words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.wordless: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take notes of one element."""
        values = dict(attrs)
        self.places.update(value for name in ("id", "name") if (value := values.get(name)))
        if link := values.get(LINKS.get(tag, "")):
            self.links.append(link)
        if tag == "img" and not values.get("alt"):
            self.wordless.append(values.get("src") or "")


def problems(site: Path) -> Iterator[str]:
    """A line for each link that leads nowhere and each picture without a text."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for picture in page.wordless:
            yield f"{name}: the picture {picture} has no text"
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if target.is_dir():
                target /= "index.html"
            place = unquote(address.fragment)
            if not target.is_file():
                yield f"{name}: {link} is not there"
            elif place and target in pages and place not in pages[target].places:
                yield f"{name}: {link} has no such place"


def main() -> int:
    """Check the site that the command line names."""
    site = Path(sys.argv[1])
    found = list(problems(site))
    print("\n".join(found) or f"Every link in {site} leads somewhere.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
