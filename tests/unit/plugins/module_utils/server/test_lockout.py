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
