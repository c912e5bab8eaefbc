# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the inventory that would lock out a client of it: the run stops at the server, before that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.modules import hba_info


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a server that nobody has set up yet; it has the role that will log in."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


OWN_RULES = {"postgres_server_hba": [{"user": "report", "method": "cert"}], "postgres_server_hba_mode": "replace"}
NOT_ACCEPTED = (
    "accepts the certificates of these roles of postgres_client_identities: app in database all: no rule matches"
)


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_an_identity_without_a_rule_in_rules_of_ones_own_is_found_before_the_server_changes(
    site: Any, option: str
) -> None:
    files = (site.cluster.data / "pg_hba.conf").read_bytes()
    done = site.run(option, **OWN_RULES)
    assert done.returncode != 0, done.stdout
    assert NOT_ACCEPTED in done.stdout, done.stdout
    assert "{database: all, user: app, method: cert}" in done.stdout
    assert (site.cluster.data / "pg_hba.conf").read_bytes() == files
    assert site.cluster.psql("SHOW ssl") == "off"


def test_with_such_a_rule_the_run_goes_through(site: Any) -> None:
    rules = [*OWN_RULES["postgres_server_hba"], {"user": "app", "address": "samehost", "method": "cert"}]
    done = site.run(**{**OWN_RULES, "postgres_server_hba": rules})
    assert done.returncode == 0, done.stdout


def test_an_identity_that_came_later_is_found_at_the_server_although_its_rules_stay(site: Any) -> None:
    rules = [*OWN_RULES["postgres_server_hba"], {"user": "app", "address": "samehost", "method": "cert"}]
    inventory = site.inventory()
    identities = inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"]
    identities.append({"role": "late", "os_user": site.os_users[1], "databases": ["shop"]})
    done = site.run(inventory=inventory, **{**OWN_RULES, "postgres_server_hba": rules})
    assert "late in database shop: no rule matches" in done.stdout, done.stdout
    done = site.run(
        inventory=inventory, **{**OWN_RULES, "postgres_server_hba": rules}, postgres_server_on_lockout="allow"
    )
    assert "late in database shop: no rule matches" not in done.stdout
    assert "TASK [pgops.tls.postgres_client" in done.stdout, "then it is the verification that finds it"


def test_the_examples_of_hba_info_run(site: Any) -> None:
    examples = yaml.safe_load(hba_info.EXAMPLES)
    examples[0]["pgops.tls.hba_info"]["port"] = site.cluster.port
    examples[0]["pgops.tls.hba_info"]["login_unix_socket"] = site.cluster.socket_directory
    told = {
        "name": "Tell",
        "ansible.builtin.debug": {"msg": "{{ access.answers | map(attribute='verdict') | join(',') }}"},
    }
    ldap = {
        "hba": "host all all all ldap ldapserver=x ldapprefix=x ldapbindpasswd=sesame",
        "questions": [{"user": "x"}],
    }
    hidden = {"name": "Hide", "pgops.tls.hba_info": ldap}
    done = site.run("-vvv", playbook=[{"hosts": "db1", "gather_facts": False, "tasks": [*examples, told, hidden]}])
    assert done.returncode == 0, done.stdout
    assert '"msg": "unknown,refused"' in done.stdout, "nobody knows here which addresses are samehost"
    assert "ldapbindpasswd=********" in done.stdout, done.stdout
    assert done.stdout.count("sesame") == 0, "the password is shown nowhere"
