# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends when, as a picture; and the page around it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, page, style, timeline
from ansible_collections.pgops.tls.plugins.module_utils.report.filters import Clusters
from ansible_collections.pgops.tls.plugins.module_utils.report.markup import Cell, ClusterCell, table
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

NOTHING: dict[str, Any] = {"servers": {}, "clients": {}, "poolers": {}, "kits": {}, "authorities": {}}


def kits(**days: int) -> dict[str, Any]:
    """Return a report on kits that end in so many days."""
    found = {
        name: {"certificate": {"serial": "1f", "sha256": "x", "not_after": clock.instant(TODAY + end * DAY),
                               "renewal": clock.instant(TODAY + (end - 30) * DAY), "reasons": []}}
        for name, end in days.items()
    }  # fmt: skip
    return facts.report(facts.Learned({}, {}, {}, [], kits=found), {}, TODAY)


def rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return label, place and state of each row of the picture."""
    drawn = ET.fromstring(timeline.drawn(data))  # noqa: S314 - our own
    found = []
    for one in drawn.findall("g"):
        beam, label = one.find("rect"), one.find("text")
        assert beam is not None
        assert label is not None
        end = float(beam.get("x", "")) + float(beam.get("width", ""))
        found.append({"label": "".join(label.itertext()), "end": end, "state": beam.get("class", "").split()[1]})
    return found


def test_what_ends_first_is_on_top_and_what_ends_later_is_further_to_the_right() -> None:
    found = rows(kits(later=400, soon=40, much_later=4000))
    assert [one["label"] for one in found] == ["kit soon", "kit later", "kit much_later"]
    assert found[0]["end"] < found[1]["end"] < found[2]["end"] == timeline._RIGHT


def test_what_has_ended_begins_and_ends_now() -> None:
    ended, fine = rows(kits(gone=-3, fine=100))
    assert (ended["state"], fine["state"]) == ("late", "kit")
    assert ended["end"] == timeline._LEFT + 1
    assert "ended 2" in timeline.drawn(kits(gone=-3))


def test_one_that_is_renewed_in_time_is_not_late() -> None:
    data = kits(soon=10)
    assert rows(data)[0]["state"] == "late"
    data["kits"]["soon"]["certificate"]["renewal"] = clock.instant(TODAY + DAY)
    assert rows(data)[0]["state"] == "kit"
    assert "renewed from" in timeline.drawn(data)


def test_authorities_and_lists_are_in_it() -> None:
    one = {"kind": "issuing", "name": "x", "not_after": clock.instant(TODAY + 900 * DAY)}
    crl = {"name": "x", "next_update": clock.instant(TODAY + 9 * DAY), "made_by": "own"}
    crl["act_from"] = clock.instant(TODAY - 5 * DAY)
    known = {"source": "own", "phase": "", "revoked": 0}
    own = {"client": {**known, "certificates": [one, {**one, "kind": "root"}], "crls": [crl]}}
    data = {**kits(anna=50), "authorities": own}
    assert [(one["label"], one["state"]) for one in rows(data)] == [
        ("revocation list of the client CA", "late"),
        ("kit anna", "kit"),
        ("issuing CA of the client CA", "issuing"),
        ("root of the client CA", "root"),
    ]
    assert "What ends when" in page.text(data)


@pytest.mark.parametrize(("spread", "shown"), [(1, 1), (20, 20), (300, 1)])
def test_a_large_fleet_has_rows_for_what_ends_together(spread: int, shown: int) -> None:
    found = rows(kits(**{f"kit{number}": 50 + number % spread for number in range(600)}))
    assert len(found) == shown
    assert all(re.fullmatch(r"\d+ kits", one["label"]) for one in found)
    assert sum(int(one["label"].split()[0]) for one in found) == 600


def test_of_too_many_rows_the_last_to_end_are_counted() -> None:
    authority = {"source": "own", "phase": "", "crls": [], "revoked": 0}
    own = {
        f"a{number}": {**authority, "certificates": [
            {"kind": "root", "name": "x", "not_after": clock.instant(TODAY + (100 + number) * DAY)}]}
        for number in range(7)
    }  # fmt: skip
    data = {**NOTHING, "time": clock.instant(TODAY), "authorities": own}
    assert len(rows(data)) == 7
    items = [timeline.Item("crl", f"{number}", clock.instant(TODAY), "", False, f"{number}") for number in range(60)]
    assert len(timeline._grouped(items, lambda _one: "")) == 60


def test_nothing_to_end_is_no_picture() -> None:
    data = facts.report(facts.Learned({}, {}, {}, []), {}, TODAY)
    assert timeline.drawn(data) == ""
    assert "What ends when" not in page.text(data)


def test_each_kind_has_a_shape_of_its_own() -> None:
    shapes = {re.sub(r"class=.*", "", timeline._end(kind, 0, 0, kind)) for kind in timeline.WORDS}
    assert len(shapes) == len(timeline.WORDS)


def test_serial_numbers_are_short_and_whole_on_demand() -> None:
    serial, other = "5e2b1d58a5cb46a5ba2b1a5ed9a4d1e4f4a1c001", "ab" * 20
    text = Cell(f"{serial}, {other} (not all sessions)", "id").as_html("serials")
    assert f"<details><summary>5e2b1d58…,</summary>{serial}</details>" in text
    assert f"<summary>abababab…</summary>{other}</details> (not all sessions)" in text
    assert "<details>" not in Cell("2f", "id").as_html("x")
    assert "<details>" not in Cell(serial).as_html("x"), "only what is a serial number"


def test_a_row_is_marked_by_its_clusters() -> None:
    data = {"servers": {"db1": {"cluster": "a"}, "db2": {"cluster": "b"}}}
    text = table([(Cell("x"), ClusterCell(["b", "a"])), (Cell("y"), ClusterCell([]))], ("n", "cluster"), Clusters(data))
    assert '<tr data-c="0 1"><td data-of="n">x</td><td class="name" data-of="cluster">a, b</td></tr>' in text
    assert '<tr><td data-of="n">y</td>' in text


def test_when_every_host_answered_last_is_remembered() -> None:
    first = facts.report(facts.Learned({}, {"app1": {"identities": []}}, {}, []), {}, TODAY)
    assert first["last_complete"] == clock.instant(TODAY)
    gone = facts.report(facts.Learned({}, {"app1": {"msg": "gone"}}, {}, []), first, TODAY + DAY)
    assert gone["last_complete"] == clock.instant(TODAY)
    assert f"Every host answered last at {clock.instant(TODAY)}." in page.text(gone)
    never = facts.report(facts.Learned({}, {"app1": {"msg": "gone"}}, {}, []), {}, TODAY)
    assert "No report has an answer of every host yet." in page.text(never)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colors", [style.LIGHT, style.DARK])
def test_every_color_can_be_read_on_both_backgrounds(colors: str) -> None:
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", colors))
    for name in ("text", "dim", "bad", "good", "blue", "amber", "violet"):
        for behind in ("paper", "panel"):
            low, high = sorted(map(_luminance, (found[name], found[behind])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, behind)
