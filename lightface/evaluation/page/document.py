"""What all pages are: one HTML file that needs nothing else, neither script nor font nor picture from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

# Nothing is loaded and nothing is run, whatever a name may hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

PRIVACY = "<p>This file shows faces and names: keep it as you keep the photographs.</p>"


def document(title: str, sections: Sequence[str], *, data: str = "") -> str:
    """A page of sections, which are markup; `data` is a `markup.data_block` for programs."""
    style = files("lightface.evaluation.page").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>"
        f"{''.join(sections)}</main>{data}</body></html>\n"
    )
