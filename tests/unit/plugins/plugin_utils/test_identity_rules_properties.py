# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of an identity is about the role of that name, whatever the name is, and about no other."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, rule_text
from ansible_collections.pgops.tls.plugins.plugin_utils import identity_rules
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import assume, example, given
from hypothesis import strategies as st

ANY_ROLE = st.text(max_size=20) | st.text(st.sampled_from("all+@\"',# \\$()é"), max_size=8)


@given(ANY_ROLE)
@example("all")
@example("+staff")
@example("@roles")
@example('"app"')
@example('"')
@example("a\\")
def test_the_rule_of_an_identity_names_its_role_alone(role: str) -> None:
    host = {"postgres_client_identities": [{"role": role, "os_user": "alice", "databases": ["shop"]}]}
    assume(attempt(identities.parse, host["postgres_client_identities"])[0])
    (rule,) = identity_rules.of_clients([host])
    (line,) = lexer.read(rule_text.rule_line(rule))
    (word,) = line.fields[2]
    assert word.text == role
    assert word.quoted or (role != "all" and role[0] not in "+@")
