# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the documentation are what the code draws now, and a page shows each of them."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET

import pytest
from ansible_collections.pgops.tls.tests.pictures import drawings
from ansible_collections.pgops.tls.tests.shared import ROOT

PAGES = ROOT / "docs" / "docsite" / "rst"


@pytest.mark.parametrize("name", drawings.PICTURES)
def test_a_drawing_is_up_to_date(name: str) -> None:
    drawn = drawings.PICTURES[name]()
    ET.fromstring(drawn)  # noqa: S314 - it is XML
    assert (drawings.IMAGES / name).read_text(encoding="utf-8") == drawn, f"{name} shows what was: run make pictures"


def test_every_picture_is_on_a_page_with_words_for_those_who_do_not_see_it() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES.glob("*.rst")]
    shown = {
        one for text in texts for one in re.findall(r"^\.\. image:: images/(\S+)\n   :alt: \S", text, re.MULTILINE)
    }
    assert shown == {path.name for path in drawings.IMAGES.iterdir()}


def test_the_screenshot_is_small_and_says_of_what_it_was_taken() -> None:
    picture = (drawings.IMAGES / "report.png").read_bytes()
    assert len(picture) < 150_000
    assert struct.unpack(">II", picture[16:24])[0] == 1200
    assert re.fullmatch(r"[0-9a-f]{64}", drawings.source_of(picture))
    assert drawings.source_of(picture) != drawings.source_of(drawings.with_source(picture, "another page"))
