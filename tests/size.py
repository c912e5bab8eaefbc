# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses functions, files and kinds of hosts that have grown too long, and functions that decide too much.

Usage: size.py FOLDER. A decision is an ``if`` in any form, a loop, an ``except``, and each ``and`` or ``or``: what ruff
counts as complexity, and besides the expressions that it does not count.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTION, FILE, DECISIONS = 40, 300, 20  # lines, lines of code, number
KINDS = {"pooler": 900}  # lines of all files in the folder of a kind of host: the engine has what kinds share
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.comprehension)


def decisions(function: ast.AST) -> int:
    """Return how many decisions a function makes, those of functions in it included."""
    nodes = list(ast.walk(function))
    operators = sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))
    filters = sum(len(node.ifs) for node in nodes if isinstance(node, ast.comprehension))
    return sum(isinstance(node, _BRANCHES) for node in nodes) + operators + filters


def code_lines(text: str) -> int:
    """Return the lines of a file without those of its texts for users: a module's documentation is data."""
    tree = ast.parse(text)
    texts = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return text.count("\n") - sum((one.end_lineno or one.lineno) - one.lineno for one in texts)


def faults(path: Path) -> Iterator[str]:
    """Return what is too large in a file, in words."""
    text = path.read_text(encoding="utf-8")
    lines = code_lines(text)
    if lines > FILE:
        yield f"{path}: {lines} lines of code, at most {FILE}. Split the file."
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef):
            continue
        place, length, number = f"{path}:{node.lineno}: {node.name}", _length(node), decisions(node)
        if length > FUNCTION:
            yield f"{place}: {length} lines, at most {FUNCTION}. Split the function."
        if number > DECISIONS:
            yield f"{place}: {number} decisions, at most {DECISIONS}. Split the function."


def folder_faults(root: Path) -> Iterator[str]:
    """Return which kinds of hosts below a folder are too large, in words."""
    for name, most in KINDS.items():
        for folder in root.rglob(name):
            lines = sum(path.read_text(encoding="utf-8").count("\n") for path in folder.glob("*.py"))
            if lines > most:
                yield f"{folder}: {lines} lines, at most {most}. Move what is not about this kind out of it."


def _length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


if __name__ == "__main__":
    root = Path(sys.argv[1])
    found = [*(fault for file in sorted(root.rglob("*.py")) for fault in faults(file)), *folder_faults(root)]
    print("\n".join(found))
    sys.exit(1 if found else 0)
