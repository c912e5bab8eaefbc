# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules with a clientcert that PostgreSQL took up to version 13, written as every version takes them.

``clientcert=1`` is ``clientcert=verify-ca``; ``clientcert=0`` and ``clientcert=no-verify`` are no option at all. Method
cert means verify-full in every version, and since 14 nothing less may stand beside it. All other bytes stay.
"""

from __future__ import annotations

import re

from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, rule

_OPTION = re.compile(r'"?clientcert="?(1|0|no-verify|verify-ca)"?')
_BLANKS_BEFORE = re.compile(r"[ \t]*\Z")


def upgraded(text: str, major: int) -> str:
    """Return a text of pg_hba.conf, read as a server of version ``major`` reads it, with those options rewritten."""
    return "".join(_line(raw, major) for _number, _content, raw in lexer.pieces(text, major))


def _line(raw: str, major: int) -> str:
    for found in _OPTION.finditer(raw):
        before, after = raw[: found.start()], raw[found.end() :]
        for new, coming in (
            ("clientcert=verify-ca", f"{before}clientcert=verify-ca{after}"),
            ("", f"{_BLANKS_BEFORE.sub('', before)}{after}"),
        ):
            if coming != raw and _is_meant(raw, coming, new, major):
                return coming
    return raw


def _is_meant(raw: str, coming: str, new: str, major: int) -> bool:
    """Return whether a line differs from its old form in just that option, and this is what is wanted of it."""
    lines, after = lexer.read(raw, major), lexer.read(coming, major)
    if len(lines) != 1 or len(after) != 1:
        return False
    [old_rule] = rule.read_all(lines)
    value = old_rule.options.get("clientcert", "")
    is_none = value in ("0", "no-verify") or (old_rule.method == "cert" and value in ("1", "verify-ca"))
    if old_rule.kind != "hostssl" or not (is_none or value == "1") or is_none != (not new):
        return False
    old, at = f"clientcert={value}", old_rule.method_at + 1
    expected = [new if one == old else one for one in _options(lines[0], at)]
    is_same_place = _words(lines[0])[:at] == _words(after[0])[:at]
    return is_same_place and _options(after[0], at) == [one for one in expected if one]


def _words(line: lexer.Line) -> list[list[str]]:
    return [[token.text for token in field] for field in line.fields]


def _options(line: lexer.Line, at: int) -> list[str]:
    """Return the options from a field on: blanks and commas between them are the same to the server."""
    return [word for field in _words(line)[at:] for word in field]
