# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of the code names places that exist, and the pages for everybody stay short."""

from __future__ import annotations

import re

import pytest
from ansible_collections.pgops.tls.tests.shared import ROOT

FOLDERS = ("plugins/", "roles/", "tests/", "docs/")
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CHANGES_TABLE = MAP[MAP.index("## Where do I change X?") :]


def test_every_place_of_the_table_exists() -> None:
    named = re.findall(r"`([\w/]+\.py|roles/[\w/]+)`", CHANGES_TABLE)
    paths = [name if name.startswith(FOLDERS) else f"plugins/module_utils/{name}" for name in named]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert len(re.findall(r"^\| (?!X |---)", CHANGES_TABLE, re.MULTILINE)) >= 20


def test_every_page_of_decisions_is_linked() -> None:
    pages = {f"decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md")}
    assert set(re.findall(r"\((decisions/[\w.]+)\)", MAP)) == pages


@pytest.mark.parametrize(("page", "most"), [("README.md", 120), ("docs/architecture.md", 150)])
def test_a_page_for_everybody_is_short(page: str, most: int) -> None:
    assert (ROOT / page).read_text(encoding="utf-8").count("\n") <= most
