# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers outside the inventory in reports: what is said of each finding, and nothing after a look that failed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, headline, metrics, page
from ansible_collections.pgops.tls.plugins.module_utils.verification.trust import FINDINGS
from ansible_collections.pgops.tls.tests import prometheus
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

HOSTILE = '"><script>alert(1)</script>\n\u202e'


def row(*findings: str, **changes: Any) -> dict[str, Any]:
    """Return a row as module client returns it."""
    return {
        "id": "shop/orders", "host": "orders.provider.example", "port": 5432, "problem": "",
        "root": "CN=Provider Root G1", "root_not_after": clock.instant(NOW + 900 * DAY), "holds_root": True,
        "roots": 2, "intermediates": [], "expired": [], "not_after": clock.instant(NOW + 90 * DAY), "verify_ca": "",
        "verify_full": {"orders.provider.example": ""}, "findings": list(findings), **changes,
    }  # fmt: skip


WHO = "shop/orders on app1"
PLACE = "orders.provider.example:5432"
UNREACHABLE = {"id": "shop/orders", "host": PLACE[:-5], "port": 5432, "problem": "no TCP connection", "findings": []}


def report(*rows: dict[str, Any], before: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    client = {"identities": [], "endpoints": list(rows), **changes}
    learned = facts.Learned({}, {"app1": client}, {}, [])
    return facts.report(learned, json.loads(json.dumps(before or {})), NOW)


REFUSED = {"verify_ca": "unable to get local issuer certificate"}
CASES = {
    "works": ([row()], True, "All is well: 0 servers, 1 client host checked.", "works"),
    "only root": ([row("only_root")], True, "All is well", "works"),
    "root missing": (
        [row("root_missing", root_not_after=None, **REFUSED)],
        False,
        f"First add the provider's current bundle to what clients trust: {WHO} does not trust the root of {PLACE}.",
        "fails",
    ),
    "chain refused": (
        [row("chain_refused", verify_ca="certificate has expired")],
        False,
        f"First find out why shop/orders on app1 refuses the certificate of {PLACE}: certificate has expired.",
        "fails",
    ),
    "name missing": (
        [row("name_missing", verify_full={"x": "the certificate holds y"})],
        False,
        "First correct the host in endpoints of shop/orders on app1: the certificate holds y.",
        "fails",
    ),
    "certificate ends": ([row("certificate_ends_soon")], False, "First ask the provider of", "works"),
    "root ends": ([row("root_ends_soon")], False, "First add the provider's next root to", "works"),
    "unreachable": (
        [UNREACHABLE],
        False,
        "First find out why app1 could not check orders.provider.example:5432: no TCP connection.",
        "unknown",
    ),
    "two": ([row("root_ends_soon"), row("root_missing")], False, "First add the provider's current bundle", "fails"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_first(name: str) -> None:
    rows, is_well, text, verdict = CASES[name]
    data = report(*rows)
    said = headline.of(data)
    assert (said.is_well, said.text.startswith(text)) == (is_well, True), said.text
    table = page.text(data).partition("<h2>Servers outside the inventory</h2>")[2].partition("<h2>")[0]
    assert f">{verdict}</td>" in table
    lines = [line for line in facts.summary(data) if "shop/orders at orders.provider.example:5432: " in line]
    assert bool(lines) == any(one["findings"] or one["problem"] for one in rows)


def test_prometheus_reads_what_is_known_and_nothing_else() -> None:
    samples = prometheus.parse(metrics.text(report(row("root_missing", root_not_after=None), UNREACHABLE)))
    own = {name: value for name, value in samples.items() if "endpoint" in str(name)}
    assert len(own) == 2 + len(FINDINGS), own


def test_what_was_wrong_stays_known_of_a_client_host_that_a_run_left_out() -> None:
    first = report(row("root_missing"))
    again = facts.report(facts.Learned({}, {"app1": {}}, {}, []), json.loads(json.dumps(first)), NOW + DAY)
    assert again["clients"]["app1"]["endpoints"] == first["clients"]["app1"]["endpoints"]
    assert headline.of(again) == headline.of(first)
    samples = prometheus.parse(metrics.text(again))
    assert [value for (name, _labels), value in samples.items() if name == "pgops_tls_endpoint_trusted"] == [0]


def test_a_failed_look_says_nothing_of_endpoints_and_hostile_answers_stay_text() -> None:
    first = report(row("root_missing"))
    again = facts.report(facts.Learned({}, {"app1": {"unreachable": True}}, {}, []), first, NOW)
    assert again["clients"]["app1"].get("endpoints", []) == []
    hostile = report(row("root_missing", id=HOSTILE, root=HOSTILE, verify_ca=HOSTILE, host=HOSTILE))
    assert "<script>" not in page.text(hostile)
    assert prometheus.parse(metrics.text(hostile))
    wrong = report(row(port="none"))
    assert wrong["clients"]["app1"]["status"] == "failed"
