# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says first."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import headline
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

AFTER_50_DAYS, AFTER_100_DAYS, AFTER_5_DAYS, YESTERDAY = (clock.instant(NOW + days * DAY) for days in (50, 100, 5, -1))


def certificate(**changes: Any) -> dict[str, Any]:
    return {"serial": "1f", "not_after": AFTER_100_DAYS, "renewal": AFTER_50_DAYS, "reasons": [], **changes}


def server(status: str = "ok", *, held: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    known = {"status": status, "message": "", "last_look": None, "sessions": [], "counts": {}, "plaintext": {}}
    return {**known, "certificate": held, **changes}


def authority(certificates: list[Any], lists: list[Any]) -> dict[str, Any]:
    return {"source": "own", "phase": "steady", "certificates": certificates, "crls": lists, "revoked": 0}


def data(**changes: Any) -> dict[str, Any]:
    """Return a report on two servers and a client host that have nothing wrong."""
    identity = {"id": "shop/app", "role": "app", **certificate(not_after=AFTER_100_DAYS)}
    client = {"status": "ok", "message": "", "last_look": None, "identities": [identity]}
    ends = [{"kind": kind, "name": f"{kind} x", "not_after": AFTER_100_DAYS} for kind in ("root", "issuing")]
    lists = [{"name": "issuing x", "next_update": AFTER_100_DAYS, "made_by": "own", "act_from": AFTER_50_DAYS}]
    known = {
        "time": clock.instant(NOW),
        "authorities": {"server": authority(ends, lists)},
        "authority_changes": [],
        "servers": {"db1": server(held=certificate()), "db2": server(held=certificate())},
        "clients": {"app1": client},
        "poolers": {},
        "kits": {},
    }
    return {**known, **changes}


def with_server(**changes: Any) -> dict[str, Any]:
    return data(servers={"db1": server(**{"held": certificate(), **changes})})


def test_when_all_is_well_it_says_of_whom_and_until_when() -> None:
    assert headline.of(data()) == headline.Headline(
        True, f"All is well: 2 servers, 1 client host checked, next renewal (app1 shop/app) on {AFTER_50_DAYS[:10]}."
    )


def test_without_a_renewal_the_next_expiry_is_told() -> None:
    known = with_server(held=certificate(renewal=None, not_after=AFTER_50_DAYS))
    told = headline.of({**known, "clients": {}}).text
    assert told == f"All is well: 1 server, 0 client hosts checked, next expiry (db1) on {AFTER_50_DAYS[:10]}."
    ends = [{"kind": "issuing", "name": "x", "not_after": clock.instant(NOW + 20 * DAY)}]
    known["authorities"] = {"client": authority(ends, [])}
    assert "next expiry (issuing of the client CA) on" in headline.of(known).text


def test_hosts_that_were_left_out_are_counted_and_nothing_is_said_where_nobody_was_asked() -> None:
    known = data()
    known["servers"]["db2"]["status"] = "not_asked"
    assert headline.of(known).text.startswith("All is well: 1 server, 1 client host checked (1 host not asked), next")
    for one in (*known["servers"].values(), *known["clients"].values()):
        one["status"] = "not_asked"
    assert headline.of(known) == headline.Headline(
        None, "Nothing is known: no host was looked at. Run pgops.tls.report without --limit."
    )


def test_a_short_life_is_no_problem_while_its_renewal_is_to_come() -> None:
    known = with_server(held=certificate(not_after=AFTER_5_DAYS, renewal=clock.instant(NOW + 2 * DAY)))
    assert headline.of(known).is_well


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (with_server(held=None), "First run pgops.tls.site: db1 has no certificate."),
        (
            with_server(held=certificate(not_after=YESTERDAY, renewal=AFTER_5_DAYS)),
            f"First run pgops.tls.site: the certificate of db1 ended on {YESTERDAY[:10]}.",
        ),
        (
            with_server(held=certificate(not_after=AFTER_5_DAYS, renewal=YESTERDAY)),
            f"First run pgops.tls.site: the certificate of db1 ends on {AFTER_5_DAYS[:10]}.",
        ),
        (
            with_server(held=certificate(not_after=AFTER_5_DAYS, renewal=None)),
            f"First run pgops.tls.site: the certificate of db1 ends on {AFTER_5_DAYS[:10]}.",
        ),
        (
            with_server(held=certificate(reasons=["name_missing"])),
            "First run pgops.tls.site: the certificate of db1 is due.",
        ),
        (
            with_server(status="unreachable"),
            "First find out why server db1 gave no answer: unreachable.",
        ),
        (with_server(status="failed"), "First find out why server db1 gave no answer: failed."),
        (
            with_server(sessions=[{"findings": ["revoked_certificate"]}, {"findings": ["old_certificate"]}]),
            "First end 1 session on db1 (pg_terminate_backend): the certificate is revoked.",
        ),
        (with_server(counts={"plaintext": 2}), "First move the clients of db1 to TLS: 2 sessions without it."),
        (
            data(waiting=["Phase switch waits for these hosts:"]),
            "First bring back the hosts that the replacement of a root waits for, see below.",
        ),
        (data(authority_changes=["make the client CA"]), "First run pgops.tls.site: it would make the client CA."),
    ],
)
def test_else_it_says_what_to_do_first(known: dict[str, Any], told: str) -> None:
    assert headline.of(known) == headline.Headline(False, told)


@pytest.mark.parametrize(
    ("kind", "playbook"), [("root", "rotate_ca"), ("issuing", "site"), ("revocation list", "site")]
)
def test_an_authority_that_ends_is_a_problem(kind: str, playbook: str) -> None:
    ends = [] if kind == "revocation list" else [{"kind": kind, "name": "x", "not_after": AFTER_5_DAYS}]
    of_list = {"name": "x", "next_update": AFTER_5_DAYS, "made_by": "own", "act_from": YESTERDAY}
    known = data(authorities={"server": authority(ends, [] if ends else [of_list])})
    assert headline.of(known).text == (
        f"First run pgops.tls.{playbook}: the {kind} x of the server CA ends on {AFTER_5_DAYS[:10]}."
    )


def test_what_is_worst_comes_first_and_the_others_are_counted() -> None:
    plain = server(held=certificate(), counts={"plaintext": 1})
    known = data(servers={"db1": plain, "db2": server("unreachable"), "db3": server()})
    assert headline.of(known).text == "First run pgops.tls.site: db3 has no certificate. 2 more problems below."
    del known["servers"]["db3"]
    assert headline.of(known).text.endswith("server db2 gave no answer: unreachable. 1 more problem below.")


def test_sessions_on_old_certificates_are_no_problem() -> None:
    assert headline.of(with_server(sessions=[{"findings": ["old_certificate", "other_issuer"]}])).is_well
