# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_rules, rule_text
from ansible_collections.pgops.tls.plugins.module_utils.server import lockout

NO_PATHS = {"pg_hba.conf": "/nowhere/pg_hba.conf", "pg_ident.conf": "/nowhere/pg_ident.conf"}


@pytest.mark.parametrize("role", ["app", "all", "+staff", "@file", 'Role "x"', "o'neill"])
def test_a_role_is_let_in_by_the_rule_that_is_made_for_it_and_by_no_other(role: str) -> None:
    clients = [{"role": role, "os_user": "app"}]
    (rule,) = client_rules.rules(clients)
    lockout.refuse_to_forget(clients, lockout.files(rule_text.rule_line(rule), "", NO_PATHS, 15), 15)
    others = lockout.files("hostssl all somebody all cert\n", "", NO_PATHS, 15)
    with pytest.raises(TlsError, match="accepts the certificates") as failure:
        lockout.refuse_to_forget(clients, others, 15)
    assert failure.value.details["forgotten_clients"] == [{"role": role, "database": "all"}]


def test_a_role_that_needs_quotes_in_a_rule_is_shown_with_them_as_yaml() -> None:
    with pytest.raises(TlsError, match="""user: '"all"', method: cert"""):
        lockout.refuse_to_forget([{"role": "all"}], lockout.files("", "", NO_PATHS, 15), 15)


def test_a_client_is_looked_for_where_it_connects_from() -> None:
    client = {"role": "app", "databases": ["shop"], "address": ["10.0.0.0/24", "2001:db8::1"]}
    for rules in ("hostssl shop app 10.0.0.0/8 cert\nhostssl all app ::/0 cert\n", "hostssl shop app all cert\n"):
        lockout.refuse_to_forget([client], lockout.files(rules, "", NO_PATHS, 15), 15)
    only_one = lockout.files("hostssl shop app 10.0.0.0/24 cert\nhostssl all all all reject\n", "", NO_PATHS, 15)
    with pytest.raises(TlsError) as failure:
        lockout.refuse_to_forget([client], only_one, 15)
    assert "app in database shop from 2001:db8::1/128: pg_hba.conf line 2" in failure.value.message
    assert "{database: shop, user: app, address: '2001:db8::1/128', method: cert}" in failure.value.message
    assert failure.value.details["forgotten_clients"] == [
        {"role": "app", "database": "shop", "address": "2001:db8::1/128"}
    ]


def test_a_client_on_the_machine_of_the_server_may_have_any_of_its_addresses() -> None:
    client = {"role": "app", "address": ["samehost"]}
    lockout.refuse_to_forget([client], lockout.files("hostssl all app 127.0.0.1/32 cert\n", "", NO_PATHS, 15), 15)
    with pytest.raises(TlsError, match="expected self, an IP address"):
        lockout.refuse_to_forget([{**client, "address": "self"}], lockout.files("", "", NO_PATHS, 15), 15)
