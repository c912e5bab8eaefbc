# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No message and no page tells anybody to do what hurts: somebody is going to paste it at 3 a.m.

A remedy may not widen rights, and may not remove files or change owners outside our own directories.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.tests.shared import ROOT

OUR_PLACES = r"[^\s`]*(?:pgops|etc/postgresql/tls)"  # what the collection alone has made
FORBIDDEN_REMEDIES = {
    "gives files to somebody": r"\b(?:chown|chgrp)\b",
    "gives rights to others": (
        r"\bchmod +(?!(?:-\w+ +)*(?:0?[0-7]00\b|(?:go|g|o|a)*-[rwx]))\S"  # all but 600 and the like, and o-w
        r"|\bsetfacl\b|\b(?:usermod|gpasswd|adduser)\b|(?i:\bgive (?:\w+ ){1,3}(?:write|read) permission)"
        r"|(?i:\bgive (?:it|that|this)(?: file| directory)? (?:to|the)\b)|\bor the write permission\b"
    ),
    "changes a whole tree": r"\b(?:chmod|chown|chgrp)\b[^.;`]*(?: -\w*R|--recursive|\(-R\))",
    "removes what others may need": (
        rf"\brm +(?:-\w+ +)*(?!-|{OUR_PLACES})[^\s|]|\bfind\b.* -delete\b|(?i:\bmove it away\b)"
    ),
}
SEARCHED_TEXTS = [
    *(
        path
        for top in ("roles", "playbooks")
        for path in (ROOT / top).rglob("*")
        if path.suffix in (".yml", ".j2", ".md")
    ),
    *(ROOT / "docs").rglob("*.rst"),
    ROOT / "README.md",
]


def of_python(path: Path) -> Iterator[str]:
    """Return the messages in a file: its texts, with {} for what is put into them, but not its documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | described:
            yield node.value


def of_text(path: Path) -> Iterator[str]:
    """Return what somebody could paste: the commands of a page, and the messages of a role or a playbook."""
    text = path.read_text(encoding="utf-8")
    yield from (line.strip()[2:] for line in text.splitlines() if line.strip().startswith("$ "))
    if path.suffix in (".yml", ".j2"):
        yield from (line for line in text.splitlines() if "msg:" in line or "description" in line)


def wrong(texts: Iterator[str]) -> list[str]:
    """Return what is told that hurts."""
    return [f"{what}: {text}" for text in texts for what, form in FORBIDDEN_REMEDIES.items() if re.search(form, text)]


def test_no_message_hurts() -> None:
    found = {path: wrong(of_python(path)) for path in (ROOT / "plugins").rglob("*.py")}
    assert len(found) > 100
    assert {str(path): told for path, told in found.items() if told} == {}


def test_no_command_of_a_page_or_role_hurts() -> None:
    found = {path: wrong(of_text(path)) for path in SEARCHED_TEXTS}
    assert sum("``" in path.read_text(encoding="utf-8") for path in found) > 10
    assert {str(path): told for path, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "text",
    [
        "Look what it is; if it is this user's, chown -R www-data it.",
        "chown it (-R) to postgres, or move it away.",
        "chown it to 105:112.",
        "Give that directory to it, or the write permission in it.",
        "expected a file. Move it away.",
        "Run chmod 644 server.key",
        "Run chmod -R 700 /var/www; chmod g+r key",
        "sudo rm -rf /var/www/.postgresql",
        "rm -r postgres-ca",
        "usermod -aG ssl-cert postgres",
        "setfacl -m u:postgres:r key",
    ],
)
def test_the_forms_find_what_hurts(text: str) -> None:
    assert wrong(iter([text])) != []


@pytest.mark.parametrize(
    "text",
    ["chmod 600 it", "take it away (chmod o-w /data)", "rm -r ~/.postgresql/pgops", "remove that line", "confirm it"],
)
def test_the_forms_leave_alone_what_takes_rights_away_or_is_ours(text: str) -> None:
    assert wrong(iter([text])) == []
