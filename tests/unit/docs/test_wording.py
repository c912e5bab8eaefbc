# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prose of the documentation is plain English: phrases that readers stumbled over do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs" / "docsite" / "rst").glob("*.rst")),
    *sorted(ROOT.glob("roles/*/README.md")),
    *sorted(ROOT.glob("roles/*/meta/argument_specs.yml")),
    *sorted((ROOT / "changelogs" / "fragments").glob("*.yml")),
]
MODULES = [path for folder in ("modules", "doc_fragments") for path in sorted((ROOT / "plugins" / folder).glob("*.py"))]
DOCUMENTATION = re.compile(r'^ *[A-Z_]+ = r"""\n(.*?)^ *"""', re.MULTILINE | re.DOTALL)
# What quotes the program: blocks of code, of commands and of output, inline code
QUOTED = re.compile(
    r"(?ms)^```.*?^```$|^( *)\.\. code-block::.*?(?=^\1\S|\Z)"
    r"|``[^`]*``|`[^`\n]*`|\"[^\"\n]*\"|[CV]\([^)]*\)"
)
AVOIDED = {
    r"\bmad?e anew\b|\bmakes? (?:\w+ ){0,4}anew\b": "recreate, reissue, rewrite",
    r"\b(?:held|holds?) (?:\w+ ){0,3}against\b": "compare, check",
    r"\b(?:take|takes|took|taken|taking) (?:\w+ ){0,4}out\b": "remove",
    r"\bnobody asks\b|\bstops nobody\b|\bnobody else\b": "say who continues",
    r"\b(?:goes|go) on\b": "continue",
    r"\bwhom\b|\bwhoever\b": "name the person or the host",
    r"\b(?:has|have) to\b": "must",
    r"\bthe way out\b": "removal",
    r"\bshall\b": "must",
    r"\bin the same go\b|\bin one go\b": "at once, in one run",
    r"\bgeneration before\b|\bof before\b": "previous",
    r"\bmeanwhile\b.{0,3}$": "in the meantime",
    r"\b(?:is|are) not there\b": "does not exist, is missing",
    r"\bfor good\b": "permanently",
    r"\bmisspelt\b|\bsynchronise": "American spelling",
}  # fmt: skip


def prose(path: Path) -> str:
    """Return the text of a file that people read, without what it quotes. Headings may quote messages."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = "\n\n".join(DOCUMENTATION.findall(text))
    text = re.sub(r"(?m)^.+\n([=~^-])\1{3,}$", "", text)
    return re.sub(r"\s+", " ", QUOTED.sub(" ", text))


def found(text: str) -> list[str]:
    """Return the phrases of a text to avoid, each with what to say."""
    return [
        f"{match[0]!r}: {better}"
        for phrase, better in AVOIDED.items()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", [*FILES, *MODULES], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_prose_is_plain(path: Path) -> None:
    assert found(prose(path)) == []


@pytest.mark.parametrize(
    "text",
    ["It is made anew.", "It holds the files against the rules.", "Take it out there.", "A host has to follow."],
)
def test_a_phrase_to_avoid_is_found(text: str) -> None:
    assert found(text) != []


def test_quotes_are_left_alone() -> None:
    text = ".. code-block:: text\n\n   whoever has the key\n\nSee ``whoever`` and `whom`.\n"
    assert found(re.sub(r"\s+", " ", QUOTED.sub(" ", text))) == []
