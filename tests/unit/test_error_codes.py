# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every failure that is explained to the user has a code for programs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FOLDERS = sorted(path.name for path in PLUGINS.iterdir() if path.is_dir() and path.name != "module_utils")
FOLDERS += [f"module_utils/{path.name}" for path in sorted((PLUGINS / "module_utils").iterdir()) if path.is_dir()]
WORD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
ERRORS = ("TlsError", "UnreachableError")


def called(node: ast.Call) -> str:
    """Return the last part of the name of what is called."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def has_code(node: ast.Call) -> bool:
    """Return whether an error gets a code: a word, that of another error, or one that comes with its details."""
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    code = given.get("code")
    if isinstance(code, ast.Constant):
        return isinstance(code.value, str) and WORD.fullmatch(code.value) is not None
    return code is not None or None in given


def without_code(source: str, path: str) -> list[str]:
    """Return where a source file raises errors that no program could tell apart."""
    return [
        f"{path}:{node.lineno}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and called(node) in ERRORS and not has_code(node)
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_errors_have_codes(folder: str) -> None:
    paths = sorted((PLUGINS / folder).rglob("*.py"))
    assert paths
    assert [line for path in paths for line in without_code(path.read_text(), str(path.relative_to(PLUGINS)))] == []


@pytest.mark.parametrize(
    ("call", "is_right"),
    [
        ('TlsError("x")', False),
        ('TlsError("x", code="")', False),
        ('TlsError("x", code="Two words")', False),
        ('errors.TlsError("x", remedy="y")', False),
        ('TlsError("x", code="key_missing")', True),
        ('TlsError("x", code=error.code)', True),
        ('TlsError("x", **details)', True),
    ],
)
def test_a_call_without_a_code_is_found(call: str, is_right: bool) -> None:
    assert (without_code(call, "x.py") == []) is is_right
