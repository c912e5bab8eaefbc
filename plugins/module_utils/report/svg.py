# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as SVG: elements with every value escaped, and what their texts take of the width."""

from __future__ import annotations

import html
from typing import Iterable

from ansible_collections.pgops.tls.plugins.module_utils.report.tables import printable


def escaped(value: object) -> str:
    """Return a value as text of HTML and XML, with letters that cannot be seen as escapes."""
    return html.escape(printable(value), quote=True)


def element(tag: str, /, *inside: str, **attributes: object) -> str:
    """Return an element. What is ``inside`` is markup already. ``class_`` and ``data_c`` become class and data-c."""
    own = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{own}>{''.join(inside)}</{tag}>" if inside else f"<{tag}{own}/>"


def text(x: float, y: float, value: object, *, most: int = 0, **attributes: object) -> str:
    """Return a text. One of more than ``most`` characters is cut, and shown whole on demand."""
    whole = printable(value)
    title = element("title", escaped(whole)) if most and len(whole) > most else ""
    return element("text", title + escaped(cut(whole, most)), x=round(x), y=round(y), **attributes)


def cut(value: str, most: int) -> str:
    """Return a text that is not longer than ``most`` characters (0: of any length)."""
    return value if not most or len(value) <= most else f"{value[: most - 1]}…"


def picture(width: int, height: int, name: str, parts: Iterable[str], **attributes: object) -> str:
    """Return a whole picture; ``name`` is what somebody hears who does not see it."""
    box = f"0 0 {width} {height}"
    return element("svg", *parts, viewBox=box, width=width, height=height, role="img", aria_label=name, **attributes)


def as_file(drawn: str, style: str) -> str:
    """Return a picture as a file of its own, with its colors, on white."""
    head, _end, rest = drawn.partition(">")
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f'{head}><style>{style}</style><rect width="100%" height="100%" class="paper"/>{rest}\n'
