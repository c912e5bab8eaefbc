# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checkers of documentation let pass: all texts use Ansible's markup, and say since when a thing exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests.shared import ROOT

DOCUMENTED_BLOCK = re.compile(r'^(?:DOCUMENTATION|RETURN) = r"""\n(.*?)^"""', re.MULTILINE | re.DOTALL)
PLUGIN_FILES = [*(ROOT / "plugins" / "modules").glob("*.py"), *(ROOT / "plugins" / "filter").glob("*.py")]
SPECIFICATIONS = list(ROOT.glob("roles/*/meta/argument_specs.yml"))
IN_TEXTS = ("description", "details", "short_description")
ROLE_VARIABLES = {
    name
    for path in SPECIFICATIONS
    for point in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
    for name in point["options"]
}


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documentation in a file as data."""
    text = path.read_text(encoding="utf-8")
    return [yaml.safe_load(part) or {} for part in (DOCUMENTED_BLOCK.findall(text) if path.suffix == ".py" else [text])]


def sentences(data: Any) -> Iterator[str]:
    """Return the texts for readers that documentation consists of."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if key in IN_TEXTS and not isinstance(value, dict):
            yield from [value] if isinstance(value, str) else value
        elif isinstance(value, (dict, list)):
            yield from sentences(value)


@pytest.fixture(params=sorted([*PLUGIN_FILES, *SPECIFICATIONS]), ids=lambda path: str(path.relative_to(ROOT)))
def texts(request: pytest.FixtureRequest) -> list[str]:
    """Give the texts of one file after the other."""
    found = [text for document in documents(request.param) for text in sentences(document)]
    assert found
    return found


def test_no_text_has_the_markup_of_other_languages(texts: list[str]) -> None:
    assert [text for text in texts if re.search(r"`|\*\*|\[[^]]+\]\(", text)] == []


def test_variables_of_roles_are_marked_as_options(texts: list[str]) -> None:
    marked = {name for text in texts for name in re.findall(r"C\((\w+)\)", text)}
    assert marked & ROLE_VARIABLES == set()


def test_values_are_not_marked_as_code(texts: list[str]) -> None:
    assert [text for text in texts if re.search(r"C\((?:true|false|on|off|null|none|[0-9]+[mhdwy]?)\)", text)] == []


@pytest.mark.parametrize("path", sorted(PLUGIN_FILES), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_says_since_when_it_exists(path: Path) -> None:
    assert documents(path)[0]["version_added"]


@pytest.mark.parametrize("path", sorted(SPECIFICATIONS), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_entry_point_of_a_role_says_since_when_it_exists(path: Path) -> None:
    assert all("version_added" in point for point in documents(path)[0]["argument_specs"].values())
