# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed parts of configuration files that others write too: their bytes outside the managed part stay as they are."""

from __future__ import annotations

import re

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

BEGIN = "# BEGIN pgops.tls"
END = "# END pgops.tls"
_NOTE = "# Managed by Ansible: changes between BEGIN and END are lost, everything else in this file stays."
_WHOLE = "# Managed by Ansible (pgops.tls): changes by hand are lost."
NOTES = (_NOTE, _WHOLE)  # lines that say whose a managed part is


def with_block(text: str, lines: str, path: str) -> str:
    """Return a file's text with the managed block first (``lines``; '' removes it) and the rest untouched.

    First, because the first matching rule of pg_hba.conf wins. Raises TlsError when the markers do not pair.
    """
    if _marks(lines) != (0, 0):
        raise TlsError(
            f"{path}: the lines to write contain '{BEGIN}' or '{END}', which mark the managed block itself.",
            remedy="Take them out.",
            code="config_block_in_lines",
        )
    rest = _without_block(text, path)
    if not lines.strip():
        return rest
    return f"{BEGIN}\n{_NOTE}\n{lines.strip()}\n{END}\n{rest}"


def whole_file(lines: str) -> str:
    """Return the text of a file that holds nothing but ``lines``."""
    return f"{_WHOLE}\n{lines.strip()}\n"


def is_whole_file(text: str) -> bool:
    """Return whether a file's text was made by ``whole_file``."""
    return text.startswith(_WHOLE)


def managed_lines(text: str) -> int:
    """Return how many lines of a file are the managed part, which comes first."""
    if is_whole_file(text):
        return text.count("\n")
    found = re.match(rf"{re.escape(BEGIN)}\n(?:.*\n)*?{re.escape(END)}\n", text)
    return found.group().count("\n") if found else 0


def with_include(text: str, path: str) -> str:
    """Return the text of postgresql.conf with our include as its last line, where it wins over earlier lines.

    ``include_if_exists``: a server whose TLS directory was lost still starts.
    """
    line = f"include_if_exists '{path}'  # pgops.tls"
    lines = text.split("\n")
    last = next((found for found in reversed(lines) if found.strip()), "")
    if last.rstrip("\r") == line and sum(found.rstrip("\r") == line for found in lines) == 1:
        return text
    kept = "\n".join(found for found in lines if found.rstrip("\r") != line)
    return f"{kept}{'' if not kept or kept.endswith(chr(10)) else chr(10)}{line}\n"


def without_include(text: str) -> str:
    """Return the text of postgresql.conf without our include, wherever it leads."""
    return re.sub(r"^include_if_exists '[^'\n]*'  # pgops\.tls\r?(?:\n|\Z)", "", text, flags=re.MULTILINE)


def included(text: str) -> str:
    """Return where the last of our lines in postgresql.conf leads, '' if there is none: it wins over the others."""
    found = re.findall(r"^include_if_exists '([^'\n]*)'  # pgops\.tls\r?$", text, flags=re.MULTILINE)
    return str(found[-1]) if found else ""


def includes(text: str) -> str:
    """Return the lines of postgresql.conf that are ours, each with its number: the later, the stronger."""
    numbered = enumerate(text.split("\n"), start=1)
    return "".join(f"line {number}: {line}\n" for number, line in numbered if line.rstrip().endswith("# pgops.tls"))


def _marks(text: str) -> tuple[int, int]:
    """Return how often each marker is in a text; an editor may have changed the ends of its lines."""
    begins, ends = (len(re.findall(rf"^{re.escape(mark)}[ \t\r]*$", text, re.MULTILINE)) for mark in (BEGIN, END))
    return begins, ends


def _without_block(text: str, path: str) -> str:
    begins, ends = _marks(text)
    if (begins, ends) == (0, 0):
        return text
    blank = r"[ \t\r]*"
    pattern = rf"^{re.escape(BEGIN)}{blank}\n(?:.*\n)*?{re.escape(END)}{blank}(?:\n|\Z)"
    found = re.search(pattern, text, re.MULTILINE)
    if (begins, ends) != (1, 1) or found is None:
        raise TlsError(
            f"{path}: expected one pair of the lines '{BEGIN}' and '{END}', found {begins} and {ends}, or out of "
            "order.",
            remedy="Fix the markers by hand.",
            code="config_block_broken",
        )
    return text[: found.start()] + text[found.end() :]
