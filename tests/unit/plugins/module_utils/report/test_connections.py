# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who connects where in a report, by which proof, and the picture of it."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import connections, facts, fleet_graph, page
from ansible_collections.pgops.tls.plugins.module_utils.report.connections import Edge, Target
from ansible_collections.pgops.tls.plugins.module_utils.report.filters import Clusters
from ansible_collections.pgops.tls.plugins.module_utils.server import applications
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

HOSTILE = '"><script>alert(1)</script>\u202e'
SHOP, BILLING = Target("cluster", "shop"), Target("cluster", "billing")
CLUSTERS = {"shop1": "shop", "shop2": "shop", "billing1": "billing"}


def session(role: str = "app", serial: str | None = "2f", *findings: str, **changes: Any) -> dict[str, Any]:
    """Return a session as module session_info returns it."""
    return {
        "role": role, "database": "shop", "address": "192.0.2.10", "application": "web", "type": "client backend",
        "since": clock.instant(TODAY - 3600), "encryption": "tls", "protocol": "TLSv1.3", "cipher": "x",
        "serial": serial, "subject": f"/CN={role}", "issuer": "/CN=ca", "findings": list(findings), **changes,
    }  # fmt: skip


PLAIN = {"encryption": "none", "protocol": None, "cipher": None, "serial": None, "findings": ["plaintext"]}


def server(*sessions: dict[str, Any]) -> dict[str, Any]:
    """Return a result of module session_info."""
    return {
        "server_version": 170007, "certificate": None, "counts": {}, "sessions": list(sessions),
        "applications": applications.of(sessions),
    }  # fmt: skip


def client(*roles: str, serial: str | None = "2f", end: int = 60) -> dict[str, Any]:
    """Return a result of module client in check mode."""
    ends = clock.instant(TODAY + end * DAY) if serial else None
    known = {"os_user": "shop", "serial": serial, "sha256": serial, "not_after": ends, "renewal": None}
    return {"identities": [{"id": f"shop/{role}", "role": role, **known} for role in roles], "requests": []}


def row(*servers: str, role: str = "app", hosts: tuple[str, ...] = ("app1",), kind: str = "client") -> dict[str, Any]:
    """Return a row of action fleet_connections."""
    id_ = f"shop/{role}" if kind == "client" else ""
    return {
        "holders": [{"kind": kind, "host": host, "id": id_, "role": role} for host in hosts],
        "servers": list(servers),
    }


def report(
    servers: dict[str, Any], *rows: dict[str, Any], before: dict[str, Any] | None = None, now: int = TODAY, **more: Any
) -> dict[str, Any]:
    """Return a report on servers in clusters, and a client host with one identity."""
    learned = facts.Learned(servers, {"app1": client("app")}, {}, [], CLUSTERS, connections=rows)
    return facts.report(learned._replace(**more), before or {}, now)


def only(data: dict[str, Any]) -> Edge:
    (found,) = connections.edges(data)
    return found


PROOFS = {
    "its certificate": ([session()], "verified", (1, 1)),
    "another certificate of the role": ([session(serial="aa")], "verified", (0, 1)),
    "no certificate": ([session(serial=None)], "encrypted", (0, 1)),
    "plaintext": ([session(**PLAIN)], "plaintext", (0, 1)),
    "one of several sessions is plaintext": ([session(), session(**PLAIN)], "plaintext", (1, 1)),
    "a replaced certificate": ([session("app", "aa", "old_certificate")], "old", (0, 1)),
    "a revoked certificate": ([session("app", "aa", "revoked_certificate"), session()], "old", (1, 1)),
    "plaintext is worse than an old certificate": ([session("app", "aa", "old_certificate"), session(**PLAIN)],
                                                   "plaintext", (0, 1)),
    "nothing": ([], "never", (0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROOFS)
def test_by_what_a_connection_is_proven(name: str) -> None:
    sessions, proof, in_use = PROOFS[name]
    found = only(report({"shop1": server(*sessions)}, row("shop1")))
    assert (found.proof, (found.in_use, found.of), found.target) == (proof, in_use, SHOP)
    assert found.last_seen == (clock.instant(TODAY) if sessions else "")


def test_the_servers_of_a_cluster_are_one_and_what_one_has_seen_counts() -> None:
    found = only(report({"shop1": server(session()), "shop2": server()}, row("shop1", "shop2")))
    assert (found.proof, found.target, found.in_use) == ("verified", SHOP, 1)
    found = only(report({"shop1": server(session()), "shop2": server(session(**PLAIN))}, row("shop1", "shop2")))
    assert found.proof == "plaintext"


def test_the_last_look_that_saw_a_role_counts_and_not_one_before() -> None:
    first = report({"shop1": server(session(**PLAIN))}, row("shop1"))
    moved = report({"shop1": server(session(application="new"))}, row("shop1"), before=first, now=TODAY + DAY)
    assert only(moved).proof == "verified"
    away = report({"shop1": server()}, row("shop1"), before=moved, now=TODAY + 2 * DAY)
    assert (only(away).proof, only(away).last_seen) == ("verified", clock.instant(TODAY + DAY))
    silent = report({"shop1": {"msg": "down"}}, row("shop1"), before=first, now=TODAY + DAY)
    assert only(silent).proof == "plaintext", "what was seen before its server was away is still known"


def test_what_one_server_saw_long_ago_is_nothing_where_another_one_has_seen_the_role_since() -> None:
    """After a failover nobody asks the former primary."""
    first = report({"shop1": server(session(**PLAIN)), "shop2": server()}, row("shop1", "shop2"))
    later = {"shop1": server(), "shop2": server(session())}
    found = only(report(later, row("shop1", "shop2"), before=first, now=TODAY + DAY))
    assert (found.proof, found.last_seen) == ("verified", clock.instant(TODAY + DAY))
    down = {"shop1": {"msg": "down"}, "shop2": server(session())}
    assert only(report(down, row("shop1", "shop2"), before=first, now=TODAY + DAY)).proof == "plaintext"


def test_where_nobody_has_looked_nothing_is_visible() -> None:
    data = report({"shop1": {"msg": "down"}}, row("shop1"))
    assert only(data).proof == "unknown"
    assert list(connections.unused(connections.edges(data))) == []


def test_poolers_are_between_and_do_not_show_who_uses_them() -> None:
    pooler = {
        "requests": [],
        "certificates": {"back": {"serial": "3f", "sha256": "x", "not_after": clock.instant(TODAY)}},
    }
    rows = (row("pool1"), row("shop1", role="pgbouncer", hosts=("pool1",), kind="pooler"))
    data = report({"shop1": server(session("pgbouncer", "3f"))}, *rows, poolers={"pool1": pooler})
    found = {(one.holder.role, one.target.name): (one.proof, one.in_use) for one in connections.edges(data)}
    assert found == {("app", "pool1"): ("unknown", 0), ("pgbouncer", "shop"): ("verified", 1)}
    reach = connections.Reach(data)
    assert set(reach.of("client", "app1", "shop/app")) == set(reach.of("pooler", "pool1", "front")) == {"shop"}


def test_a_host_that_is_server_and_pooler_is_drawn_as_both() -> None:
    pooler = {"requests": [], "certificates": {"back": {"serial": "3f", "sha256": "x", "not_after": None}}}
    rows = (row("shop1"), row("shop1", role="pgbouncer", hosts=("shop1",), kind="pooler"))
    data = report({"shop1": server()}, *rows, poolers={"shop1": pooler})
    assert connections.members(data) == {SHOP: ["shop1"], Target("pooler", "shop1"): ["shop1"]}
    assert "<svg" in page.text(data)


def test_a_client_of_a_pooler_is_of_the_clusters_behind_it_whoever_shares_its_row() -> None:
    pooler = {"requests": [], "certificates": {}}
    both = {"holders": [*row("", hosts=("app2",))["holders"], *row("", hosts=("pool1",), kind="pooler")["holders"]]}
    rows = (row("pool1"), {**both, "servers": ["shop1"]})
    data = report({"shop1": server()}, *rows, poolers={"pool1": pooler})
    assert set(connections.Reach(data).of("client", "app1", "shop/app")) == {"shop"}


def test_a_role_that_the_inventory_does_not_have_is_shown_as_such() -> None:
    data = report({"shop1": server(session("legacy", **PLAIN)), "billing1": server(session("app"))}, row("shop1"))
    found = {(one.holder.kind, one.holder.role, one.target.name): one.proof for one in connections.edges(data)}
    assert found == {
        ("client", "app", "shop"): "never",
        ("other", "legacy", "shop"): "plaintext",
        ("other", "app", "billing"): "verified",  # app of shop is not app of billing
    }
    text = page.text(data)
    assert "not in the inventory" in text


def test_certificates_that_no_server_has_seen_are_listed_by_role() -> None:
    clients = {"app1": client("app"), "app2": client("app", serial="5f"), "app3": client("batch", serial="6f")}
    rows = (row("shop1", hosts=("app1", "app2")), row("shop1", role="batch", hosts=("app3",)))
    data = report({"shop1": server(session())}, *rows, clients=clients)
    assert [(one.holder.role, one.in_use, one.of) for one in connections.edges(data)] == [
        ("app", 1, 2),
        ("batch", 0, 1),
    ]
    assert [holder.role for holder, _edges in connections.unused(connections.edges(data))] == ["batch"]
    section = page.text(data).partition("<h2>Roles without a certificate in use</h2>")[2].partition("<h2>")[0]
    assert ">batch</td>" in section
    assert ">app</td>" not in section


def test_who_logs_in_by_a_password_has_no_certificate_to_use() -> None:
    clients = {"app1": client("app", serial=None)}
    data = report({"shop1": server(session(serial=None))}, row("shop1"), clients=clients)
    assert (only(data).proof, only(data).of) == ("encrypted", 0)
    assert list(connections.unused(connections.edges(data))) == []


def test_a_kit_is_a_holder_outside_the_inventory() -> None:
    kit = {"certificate": {"serial": "7f", "sha256": "x", "not_after": clock.instant(TODAY + DAY), "renewal": None}}
    data = report({"shop1": server(session("anna", "7f"))}, row("shop1", role="anna", hosts=("anna",), kind="kit"),
                  kits={"anna": kit})  # fmt: skip
    assert (only(data).holder.kind, only(data).in_use) == ("kit", 1)
    assert "kit anna" in page.text(data)


def graph(data: dict[str, Any]) -> ET.Element:
    """Return the picture as elements: it is XML."""
    return ET.fromstring(fleet_graph.drawn(data, connections.edges(data)))  # noqa: S314 - our own


def texts(drawn: ET.Element) -> list[str]:
    return [one.text or "".join(one.itertext()) for one in drawn.iter("text")]


def test_the_picture_has_a_box_for_each_and_a_line_by_its_proof() -> None:
    sessions = server(session(), session("legacy", **PLAIN))
    servers = {"shop1": sessions, "shop2": server(), "billing1": server()}
    drawn = graph(report(servers, row("shop1", "shop2"), row("billing1", role="other")))
    assert {"app", "legacy", "shop", "shop1", "shop2", "not in the inventory"} <= set(texts(drawn))
    classes = [one.get("class") for one in drawn.iter("g") if one.find("title") is not None]
    assert sorted(filter(None, classes)) == ["edge never", "edge plaintext", "edge verified"]
    titles = [one.text for one in drawn.iter("title")]
    assert f"app to shop: verified, last seen {clock.instant(TODAY)}" in titles


def test_each_proof_has_a_shape_and_words_of_its_own() -> None:
    assert set(fleet_graph._MARKS) == set(connections.WORDS) == set(connections.PROOFS)
    assert len(set(fleet_graph._MARKS.values())) == len(set(connections.WORDS.values())) == len(connections.PROOFS)


def boxes(drawn: ET.Element) -> list[tuple[float, float, float, float]]:
    found = [one.find("rect") for one in drawn.iter("g") if (one.get("class") or "").startswith("node")]
    return [tuple(float(box.get(key, "")) for key in ("x", "y", "width", "height")) for box in found if box is not None]


def many(servers: int, clients: int, *, alone: bool = False) -> dict[str, Any]:
    """Return a report on a large fleet: clusters of ten, a role for each client host."""
    names = [f"db{number}" for number in range(servers)]
    own = {} if alone else {name: f"c{number // 10:03}" for number, name in enumerate(names)}
    rows = [row(*names[n % servers // 10 * 10 :][:10], role=f"r{n}", hosts=(f"h{n}",)) for n in range(clients)]
    learned = facts.Learned(
        {name: server(session("r1")) for name in names}, {f"h{n}": client(f"r{n}") for n in range(clients)}, {}, [],
        own, connections=[*rows, row(*names, role="monitor", hosts=("m1",))],
    )  # fmt: skip
    return facts.report(learned, {}, TODAY)


@pytest.mark.parametrize("size", [(3, 4), (60, 60), (500, 500)])
@pytest.mark.parametrize("alone", [True, False])
def test_no_box_is_on_another_and_a_picture_has_an_end(size: tuple[int, int], alone: bool) -> None:
    drawn = graph(many(*size, alone=alone))
    found = boxes(drawn)
    assert 2 <= len(found) <= 2 * fleet_graph.MOST
    assert all(x >= 0 and x + width <= fleet_graph.WIDTH for x, _y, width, _height in found)
    for number, (x, y, width, height) in enumerate(found):
        for other in found[number + 1 :]:
            assert (
                x + width <= other[0] or other[0] + other[2] <= x or y + height <= other[1] or other[1] + other[3] <= y
            )
    assert max(y + height for _x, y, _width, height in found) < float(drawn.get("height", ""))


def test_no_line_goes_through_a_pooler_that_it_does_not_lead_to() -> None:
    pooler = {"requests": [], "certificates": {}}
    rows = [row("shop1", "billing1"), row("pool1", role="web"), row("pool1", "billing1", role="both")]
    rows.append(row("shop1", role="pgbouncer", hosts=("pool1",), kind="pooler"))
    drawn = graph(report({"shop1": server(), "billing1": server()}, *rows, poolers={"pool1": pooler}))
    (box,) = [one for one in boxes(drawn) if one[2] == fleet_graph._MIDDLE[1]]
    for one in drawn.iter("g"):
        line = one.find("path[@class='line']")
        title = one.find("title")
        if (
            line is not None
            and title is not None
            and "pool1" not in (title.text or "")
            and "pgbouncer" not in (title.text or "")
        ):
            _x, y, _x1, _y1, _x2, _y2, _x3, to_y = map(float, re.findall(r"-?[\d.]+", line.get("d", ""))[:8])
            assert max(y, to_y) < box[1]


def test_what_it_costs_grows_with_the_hosts_and_not_with_their_square() -> None:
    def seconds(size: int) -> float:
        data = many(size, size)
        started = time.process_time()
        page.text(data)
        return time.process_time() - started

    seconds(50)
    small, large = max(seconds(100), 0.02), seconds(800)
    assert large < 8 * small * 2.5


def test_many_clusters_push_no_pooler_out_of_the_picture() -> None:
    names = [f"db{number}" for number in range(fleet_graph.MOST + 5)]
    rows = (row("pool1"), row(*names, role="pgbouncer", hosts=("pool1",), kind="pooler"))
    given = facts.Learned(
        {name: server() for name in names}, {"app1": client("app")}, {}, [], {name: f"c{name}" for name in names},
        connections=rows, poolers={"pool1": {"requests": [], "certificates": {}}},
    )  # fmt: skip
    drawn = graph(facts.report(given, {}, TODAY))
    assert [one for one in boxes(drawn) if one[2] == fleet_graph._MIDDLE[1]]


def test_names_stay_text_in_the_picture() -> None:
    data = report({"shop1": server(session(HOSTILE, **PLAIN))}, row("shop1", role=HOSTILE, hosts=(HOSTILE,)))
    drawn = fleet_graph.drawn(data, connections.edges(data))
    assert "<script" not in drawn
    assert "\u202e" not in drawn
    ET.fromstring(drawn)  # noqa: S314 - it is XML


def test_a_filter_marks_what_is_of_a_cluster_and_leaves_the_rest() -> None:
    data = report(
        {"shop1": server(session()), "billing1": server(), "lone": server()}, row("shop1"), row("lone", role="x")
    )
    clusters = Clusters(data)
    assert [clusters.mark(names) for names in (["billing"], ["shop", "billing"], [""], [])] == ["1", "1 2", "0", None]
    assert clusters.rules().count("display: none") == 3
    text = page.text(data)
    assert text.index('id="cluster-2"') < text.index("<main>"), "the rules look for main behind the buttons"
    assert re.search(r'<tr data-c="2"><td class="name" data-of="server">shop1</td>', text)
    assert re.search(r'<tr data-c="2"><td class="name" data-of="host">app1</td>', text), "its client is for shop"
    assert re.search(r'<g class="edge verified" data-c="2">', text)
    assert "<fieldset" not in page.text(facts.report(facts.Learned({"lone": server()}, {}, {}, []), {}, TODAY))


def test_a_name_of_the_inventory_is_no_part_of_the_style_sheet() -> None:
    learned = facts.Learned({"db1": server()}, {}, {}, [], {"db1": "}</style><script>"})
    text = page.text(facts.report(learned, {}, TODAY))
    assert text.count("</style>") == 1
    assert "<script" not in text
