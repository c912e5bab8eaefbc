# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as too long, and as too many decisions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.tests import size


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("return a", 0),
        ("return a if b else c", 1),
        ("return a and b and c", 2),
        ("return a and (b or c)", 2),
        ("return [x for x in a if x if not x]", 3),
        ("for x in a:\n  while x:\n    if x: pass\n    elif a: pass", 4),
        ("try: pass\n except A: pass\n except B: pass".replace("\n ", "\n"), 2),
        ("def inner():\n  return a or b\n return inner".replace("\n return", "\nreturn"), 1),
    ],
)
def test_every_form_of_a_decision_is_counted(body: str, number: int) -> None:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    assert size.decisions(ast.parse(f"def f():\n{indented}\n")) == number


def test_a_file_that_is_within_the_limits_is_not_named(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text('DOCUMENTATION = """\n' + "text\n" * size.FILE + '"""\n' + "x = 1\n" * (size.FILE - 1))
    assert list(size.faults(path)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n" * (size.FILE + 1), f"{size.FILE + 1} lines of code"),
        ("def f():\n" + "    x = 1\n" * size.FUNCTION, f"one.py:1: f: {size.FUNCTION + 1} lines"),
        ("def f():\n    return " + " or ".join("a" * (size.DECISIONS + 2)), f"f: {size.DECISIONS + 1} decisions"),
    ],
)
def test_what_is_too_large_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "one.py"
    path.write_text(text)
    [fault] = size.faults(path)
    assert told in fault


def test_a_kind_of_host_that_is_too_large_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "module_utils" / "pooler"
    folder.mkdir(parents=True)
    for name in ("a.py", "b.py"):
        (folder / name).write_text("# a comment counts\n" * (size.KINDS["pooler"] // 2))
    assert list(size.folder_faults(tmp_path)) == []
    (folder / "c.py").write_text("\n")
    [fault] = size.folder_faults(tmp_path)
    assert "pooler: 901 lines, at most 900" in fault
