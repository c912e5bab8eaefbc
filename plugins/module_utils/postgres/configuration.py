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


def with_block(text: str, lines: str, path: str) -> str:
    """Return a file's text with the managed block first (``lines``; '' removes it) and the rest untouched.

    First, because the first matching rule of pg_hba.conf wins. Raises TlsError when the markers do not pair.
    """
    rest = _without_block(text, path)
    if not lines.strip():
        return rest
    return f"{BEGIN}\n{_NOTE}\n{lines.strip()}\n{END}\n{rest}"


def whole_file(lines: str) -> str:
    """Return the text of a file that holds nothing but ``lines``."""
    return f"# Managed by Ansible (pgops.tls): changes by hand are lost.\n{lines.strip()}\n"


def with_include(text: str, path: str) -> str:
    """Return the text of postgresql.conf with our include as its last line, where it wins over earlier lines.

    ``include_if_exists``: a server whose TLS directory was lost still starts.
    """
    line = f"include_if_exists '{path}'  # pgops.tls"
    kept = [found for found in text.splitlines(keepends=True) if found.rstrip("\n") != line]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    if text.rstrip("\n").endswith(line):
        return text
    return "".join(kept) + line + "\n"


def _without_block(text: str, path: str) -> str:
    begins, ends = (len(re.findall(rf"^{mark}$", text, re.MULTILINE)) for mark in (BEGIN, END))
    if (begins, ends) == (0, 0):
        return text
    found = re.search(rf"^{BEGIN}\n(?:.*\n)*?{END}(?:\n|$)", text, re.MULTILINE)
    if (begins, ends) != (1, 1) or found is None:
        raise TlsError(
            f"{path}: expected one pair of the lines '{BEGIN}' and '{END}', found {begins} and {ends}, or out of "
            "order. Mend the markers by hand."
        )
    return text[: found.start()] + text[found.end() :]
