"""Small pieces of HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, name: str) -> str:
    """A table of texts, of which further lines are set small; `name` goes into `data-table`."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table data-table="{escape(name)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def card(name: str, value: str, below: str) -> str:
    """One large figure."""
    kind = ' class="words"' if value.startswith("too few") else ""
    return (
        f'<div class="card" data-card="{escape(name)}"><small>{escape(name)}</small>'
        f"<b{kind}>{escape(value)}</b><small>{escape(below)}</small></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms and what they are."""
    return f'<dl class="facts">{"".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs)}</dl>'


def chart_figure(svg: str, title: str, text: str, *, key: str = "") -> str:
    """A chart over its caption; `key` is markup."""
    return f"<figure>{svg}<figcaption><b>{escape(title)}</b> {escape(text)}{key}</figcaption></figure>"


def data_block(name: str, content: Any) -> str:
    """JSON for programs that read the page. It cannot end its element early, since it holds no `<`."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def _cell(text: str) -> str:
    kind = ' class="words"' if text.startswith("too few") else ' class="long"' if len(text) > 60 else ""
    first, *rest = text.split("\n")
    return f"<td{kind}>{escape(first)}{''.join(f'<small>{escape(line)}</small>' for line in rest)}</td>"
