# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a report as a browser shows it: wide and narrow, light and dark, filtered, and on paper."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.report import page
from ansible_collections.pgops.tls.tests.pictures import browser, drawings, example
from ansible_collections.pgops.tls.tests.pictures.browser import Browser

WIDTHS, SCHEMES = (1200, 400), ("light", "dark")
SHOWN = 1950  # pixels of the page that the documentation shows
# Texts and marks whose contrast is too low, each with what it is
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
# Texts of pictures that are outside of their box, or of the picture
OUTSIDE = """
[...document.querySelectorAll("svg text")].filter(one => {
  const own = one.getBoundingClientRect();
  const box = one.parentElement.querySelector(":scope > rect:not(.bar)") || one.ownerSVGElement;
  const around = box.getBoundingClientRect();
  return own.left < around.left - 1 || own.right > around.right + 1 || own.bottom > around.bottom + 1;
}).map(one => one.textContent)
"""
VISIBLE = "[...document.querySelectorAll('{}')].filter(one => one.getClientRects().length).map(one => one.textContent)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.started() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of the example."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.text(example.data()), encoding="utf-8")
    return path


def keep(name: str, picture: bytes) -> None:
    """Leave a picture where the step finds it."""
    folder = Path(os.environ["PICTURES"])
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(picture)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_all_of_it_can_be_read(chromium: Browser, report: Path, width: int, scheme: str) -> None:
    chromium.open(report, width, scheme=scheme)
    keep(f"report-{width}-{scheme}.png", chromium.picture())
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width, "it has to be moved sideways"
    dark = chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert dark == (scheme == "dark")
    found = chromium.evaluate(CONTRAST)
    assert found["looked"] > 300, "it looks at too little"
    assert found["low"] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_of_its_pictures_are_in_their_boxes(chromium: Browser, report: Path, width: int) -> None:
    chromium.open(report, width)
    assert chromium.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("name", drawings.PICTURES)
def test_a_drawing_of_the_documentation_can_be_read(chromium: Browser, name: str) -> None:
    chromium.open(drawings.IMAGES / name, 960)
    keep(f"{name}.png", chromium.picture())
    assert chromium.evaluate(OUTSIDE) == []


def test_a_text_outside_of_its_box_is_noticed(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "wide.html"
    box = "<g><rect width='40' height='20'/><text y='15'>much too long</text></g><g><text x='9' y='60'>fine</text></g>"
    path.write_text(f"<svg width='300' height='80'>{box}</svg>")
    chromium.open(path, 400)
    assert chromium.evaluate(OUTSIDE) == ["much too long"]


def test_too_little_contrast_is_noticed(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "pale.html"
    path.write_text("<body style='background: #fff'><p style='color: #999'>pale</p><p style='color: #666'>fine</p>")
    chromium.open(path, 400)
    found = chromium.evaluate(CONTRAST)
    assert [one["what"] for one in found["low"]] == ["pale"]


def test_one_cluster_is_shown_alone(chromium: Browser, report: Path) -> None:
    chromium.open(report, 1200)

    def shown() -> tuple[set[str], int]:
        nodes = chromium.evaluate(VISIBLE.format(".graph .node .title"))
        return set(nodes), len(chromium.evaluate(VISIBLE.format(".graph .edge[data-c]")))

    every, lines = shown()
    assert {"shop", "billing", "archive1.example.com", "pool1.example.com", "web", "invoices"} <= every
    chromium.evaluate("[...document.querySelectorAll('label')].find(one => one.textContent == 'billing').click()")
    some, fewer = shown()
    assert some == {"billing", "invoices", "clerk", "auditor", "import"}
    assert 0 < fewer < lines
    rows = " ".join(chromium.evaluate(VISIBLE.format("main tr")))
    assert "billing1.example.com" in rows
    assert "PostgreSQL server root" in rows, "authorities are for all clusters"
    assert "shop1" not in rows
    assert "pool1" not in rows, "it leads to shop alone"
    chromium.evaluate("[...document.querySelectorAll('label')].find(one => one.textContent == 'all').click()")
    assert shown() == (every, lines)


def test_a_serial_number_is_whole_on_demand(chromium: Browser, report: Path) -> None:
    chromium.open(report, 1200)
    whole = example.serial("invoices")
    assert whole not in chromium.evaluate("document.body.innerText")
    chromium.evaluate(f"[...document.querySelectorAll('summary')].find(one => '{whole}'.startsWith("
                      "one.textContent.slice(0, -1))).click()")  # fmt: skip
    assert whole in chromium.evaluate("document.body.innerText")


def test_on_paper_it_is_light_and_whole(chromium: Browser, report: Path) -> None:
    chromium.open(report, 760, scheme="dark", media="print")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 760
    assert chromium.evaluate(VISIBLE.format("input, label, .choose")) == []
    assert chromium.evaluate(VISIBLE.format("thead")), "a table on paper has its headings"
    keep("report-paper.png", chromium.picture())


def test_nothing_is_fetched_and_nothing_runs(chromium: Browser, tmp_path: Path) -> None:
    """Even a name that would get out of its place could not run a script."""
    path = tmp_path / "hostile.html"
    text = page.text(example.data()).replace("</main>", "<script>document.title = 'run'</script></main>")
    path.write_text(text, encoding="utf-8")
    chromium.open(path, 1200)
    assert chromium.evaluate("document.title") == "TLS of PostgreSQL"
    assert chromium.evaluate("performance.getEntriesByType('resource').length") == 0


def test_the_documentation_shows_this_page(chromium: Browser, report: Path) -> None:
    chromium.open(report, 1200)
    taken = drawings.with_source(drawings.small(chromium.picture(SHOWN)), report.read_text(encoding="utf-8"))
    keep("report.png", taken)
    assert len(taken) < 150_000
    committed: Any = drawings.IMAGES / "report.png"
    assert drawings.source_of(committed.read_bytes()) == drawings.source_of(taken), (
        "docs/docsite/images/report.png shows an older page: copy .cache/pictures/report.png over it"
    )
