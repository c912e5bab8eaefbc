# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules let in whoever has a certificate of a CA that signs for others."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, lexer
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import read_all
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts
from ansible_collections.pgops.tls.plugins.module_utils.server import shared_trust

MAPS = """
people "CN=app,O=Example" app
names app app
pattern "/^CN=([^,]*),O=Example$" \\1
end "/,O=Example$" app
"""
GROUPS = {"app": ["app"], "clerk": ["clerk"]}
RULES: dict[str, list[str]] = {
    "hostssl all app all cert": ["app"],
    "hostssl all all all cert": ["app"],
    "hostssl all all all scram-sha-256 clientcert=verify-full": ["app"],
    "hostssl all all all cert map=names": ["app"],
    "hostssl all all all cert clientname=DN": [],
    "hostssl all all all cert clientname=DN map=people": [],
    "hostssl all all all cert clientname=CN map=people": ["app"],
    "hostssl all all all cert clientname=DN map=pattern": ["app"],
    "hostssl all all all cert clientname=DN map=end": ["app"],
    "hostssl replication app all cert": ["app"],
    "hostssl shop app 192.0.2.0/24 cert": ["app"],
    "hostssl all nobody all cert": [],
    "hostssl all all all scram-sha-256": [],
    "hostssl all all all scram-sha-256 clientcert=verify-ca": [],
    "hostssl all all all trust clientcert=verify-ca": ["app"],
    "hostssl all all all trust": [],
    "hostssl all all all reject\nhostssl all all all cert": [],
    "hostssl all app all cert clientname=DN map=people\nhostssl all all all cert": ["clerk"],
    "hostssl all all 192.0.2.0/24 reject\nhostssl all all all cert": ["app"],
    "local all all peer": [],
}


def found(text: str, major: int = 17) -> list[shared_trust.Unbound]:
    rules, maps = list(read_all(lexer.read(text, major))), lexer.read(MAPS, major)
    return shared_trust.unbound(rules, maps, ["app", "clerk"], Facts(major, groups=GROUPS))


@pytest.mark.parametrize("text", RULES)
def test_a_rule_is_bound_if_it_compares_whole_subjects_through_a_map(text: str) -> None:
    assert [one.role for one in found(text)] == RULES[text]


@pytest.mark.parametrize(("major", "remedy"), [(13, "PostgreSQL 13 cannot compare whole subjects"), (14, "clientname")])
def test_what_is_not_bound_is_refused_with_the_remedy_of_the_version(major: int, remedy: str) -> None:
    rules = access.rules_in("hostssl all all all cert\n" * 7, "/etc/pg_hba.conf", major)
    rules += access.rules_in("hostssl all app 192.0.2.1/32 cert\n" * 7, "/etc/more.conf", major)
    with pytest.raises(TlsError, match="also sign for others") as failure:
        shared_trust.refuse_unbound(rules[::-1], [], ["app"], Facts(major, groups=GROUPS), ["Example Root"])
    assert "'Example Root' also sign for others" in failure.value.message
    assert "/etc/more.conf line 7 (hostssl all app 192.0.2.1/32 cert) as app" in failure.value.message
    assert "; and 3 more rules. Nothing was changed" in failure.value.message
    assert remedy in failure.value.message
