# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the pages of docs/docsite/rst: their blocks of code, and who ran the commands in them.

A block is a ``.. code-block:: LANGUAGE`` with an optional ``:caption:``. See docs/docsite/rst/guide_development.rst.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.pgops.tls.tests.shared import ROOT

FOLDER = ROOT / "docs" / "docsite" / "rst"
DIRECTIVE = re.compile(r"( *)\.\. (code-block|sourcecode|code|highlight|parsed-literal|literalinclude)::(.*)")
TEST = r"tests/[\w/]+\.py(?:::\w+)?"
BY_TEST = re.compile(rf"Run by ({TEST}(?:, {TEST})*)")
BY_HAND = re.compile(r"Run by hand on \S.*, (?:PostgreSQL \d\d(?:\.\d+)?(?: and \d\d)*|no PostgreSQL)(?:; \S.*)?")
PROMPT = re.compile(r"[$] (.*)")


@dataclass
class Block:
    """A block of code. ``line`` is that of its directive, from 1 on; ``text`` ends with a line break."""

    page: str
    line: int
    directive: str
    language: str
    caption: str
    text: str

    def __str__(self) -> str:
        """Return the place of the block, as messages name it."""
        return f"{self.page}:{self.line}"

    def tests(self) -> list[str]:
        """Return the tests that run the commands, as PATH or PATH::FUNCTION."""
        found = BY_TEST.fullmatch(self.caption)
        return found[1].split(", ") if found else []

    def commands(self) -> list[tuple[str, str]]:
        """Return each command with the output that the page shows for it. A backslash at the end continues a line."""
        found: list[tuple[str, str]] = []
        continued = False
        for line in self.text.splitlines():
            start = PROMPT.match(line)
            if continued:
                found[-1] = (found[-1][0] + "\n" + line, "")
            elif start:
                found.append((start[1], ""))
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + line + "\n")
            continued = (continued or bool(start)) and line.endswith("\\")
        return found


def pages() -> list[Path]:
    """Return the pages in the order of their names."""
    return sorted(FOLDER.glob("*.rst"))


def blocks(name: str, text: str) -> list[Block]:
    """Return the blocks of a page with this name and text."""
    lines = text.splitlines()
    return [_block(name, lines, number, found) for number, found in enumerate(map(DIRECTIVE.fullmatch, lines)) if found]


def _block(name: str, lines: list[str], number: int, found: re.Match[str]) -> Block:
    """Return the block whose directive is in the line with this number."""
    inner = []
    for line in lines[number + 1 :]:
        if line.strip() and not line.startswith(found[1] + " "):
            break
        inner.append(line)
    depth = min((len(line) - len(line.lstrip()) for line in inner if line.strip()), default=0)
    body = [line[depth:].rstrip() for line in inner]
    options = {}
    while body and (option := re.fullmatch(r":([\w-]+):(.*)", body[0])):
        options[option[1]] = option[2].strip()
        del body[0]
    content = "\n".join(body).strip("\n") + "\n"
    return Block(name, number + 1, found[2], found[3].strip(), options.get("caption", ""), content)


def commands_of(page: str, test: str) -> Block:
    """Return the block of commands of a page that a test runs, whose file ends with this name."""
    path = FOLDER / f"{page}.rst"
    found = blocks(path.name, path.read_text(encoding="utf-8"))
    return next(block for block in found if any(f"/{test}.py" in one for one in block.tests()))


def example(name: str) -> str:
    """Return the file of the guides whose caption ends with this name."""
    found = (block for page in pages() for block in blocks(page.name, page.read_text(encoding="utf-8")))
    return next(block.text for block in found if block.caption.endswith(f"/{name}"))


def pattern(shown: str) -> re.Pattern[str]:
    """Return the pattern of the output that a page shows, in which ``...`` stands for anything."""
    lines = [line.rstrip() for line in shown.strip("\n").splitlines()]
    parts = [r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r" *\n" for line in lines]
    return re.compile("".join(parts))


def follow(block: Block, folder: Path, environment: Mapping[str, str]) -> str:
    """Run the commands of a block in a folder; return what is not as the page shows it."""
    for command, shown in block.commands():
        text = command.replace("/path/to/the/checkout", str(ROOT))
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=folder,
            env=environment,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        if not pattern(shown).fullmatch(done.stdout.strip("\n") + "\n" if done.stdout.strip() else ""):
            return f"{block}: {command}\nshould print\n{shown}\nbut printed\n{done.stdout}"
        if done.returncode and not re.search("fatal:|error:", shown):
            return f"{block}: {command}\nfailed with {done.returncode}:\n{done.stdout}"
    return ""
