# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities with passwords, by site.yml: a fleet without any client certificate, and changes from login to login."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.endings import refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

ROTATE = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
REPORT = [{"ansible.builtin.import_playbook": "pgops.tls.report"}]
PROVEN = "up to the password prompt: TLS and the server's certificate are right, and .pgpass of this OS user has no"


class Passwords:
    """A site whose client host has only people with passwords."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.home = site.homes / site.os_users[0]

    def run(self, login: str, *options: str, playbook: Any = None, **variables: Any) -> Any:
        inventory = self.site.inventory()
        first, second = self.site.os_users
        inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"] = [
            {"role": "clerk", "os_user": first, "databases": ["postgres"], "login": login},
            {"role": "boss", "os_user": second, "databases": ["postgres"], "login": "password"},
        ]
        return self.site.run(*options, inventory=inventory, playbook=playbook, **variables)

    def rules(self) -> list[str]:
        """Return the rules of the managed block."""
        text = (self.site.cluster.data / "pg_hba.conf").read_text()
        return [line for line in text.partition("# END pgops.tls")[0].splitlines() if line.startswith("hostssl")]

    def pairs(self) -> list[str]:
        """Return the keys and certificates of OS users that are in use."""
        found = self.site.homes.rglob("postgresql.*")
        return sorted({path.name for path in found if path.exists() and "generations" not in path.parts})

    def ledger(self, authority: str) -> list[dict[str, str]]:
        path = self.site.authorities / "ledger.jsonl"
        return [one for one in map(json.loads, path.read_text().splitlines()) if one["authority"] == authority]

    def know(self) -> None:
        """Put the passwords into the files that libpq reads."""
        for name in self.site.os_users:
            path, account = self.site.homes / name / ".pgpass", pwd.getpwnam(name)
            path.write_text("*:*:*:*:sesame\n")
            path.chmod(0o600)
            os.chown(path, account.pw_uid, account.pw_gid)

    def forget(self) -> None:
        for name in self.site.os_users:
            (self.site.homes / name / ".pgpass").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def fleet(site_on: Callable[[Any], Any], shared_cluster: Any) -> Passwords:
    """Make a server that nobody has set up yet; it has the roles that will log in."""
    create = "CREATE ROLE clerk LOGIN PASSWORD 'sesame'; CREATE ROLE boss LOGIN PASSWORD 'sesame'"
    shared_cluster.psql(f"SET password_encryption = 'scram-sha-256'; {create}")
    return Passwords(site_on(shared_cluster))


def changed(output: str) -> dict[str, int]:
    return {host: int(count) for host, count in re.findall(r"^(\S+) +: .*changed=(\d+) ", output, re.MULTILINE)}


def test_a_fleet_with_passwords_only_is_set_up_by_one_run_and_the_second_changes_nothing(fleet: Passwords) -> None:
    well(fleet.run("password", "--check", "--diff"))
    output = well(fleet.run("password"))
    assert all(changed(output).values())
    assert fleet.rules() == [
        "hostssl postgres boss all scram-sha-256",
        "hostssl postgres clerk all scram-sha-256",
    ]
    assert fleet.pairs() == []
    assert fleet.ledger("client") == []
    assert output.count(PROVEN) == 8, "each by two names, by the service, by the default files"
    assert re.search(r"12 connections from 1 client hosts: 4 as expected, 8 up to the password prompt", output), output
    for kind in ("no client certificate", "certificate of a foreign CA", "another role's certificate"):
        assert kind not in output
    before = fleet.site.files()
    assert changed(well(fleet.run("password"))) == {"db1": 0, "app1": 0}
    assert fleet.site.files() == before


def test_with_the_passwords_in_pgpass_the_whole_logins_are_proven(fleet: Passwords) -> None:
    fleet.know()
    output = well(fleet.run("password"))
    assert "12 connections from 1 client hosts: 12 as expected" in output


@ONLY_THOROUGH
def test_the_report_has_no_certificate_to_miss(fleet: Passwords) -> None:
    well(fleet.run("password", playbook=REPORT))
    found = json.loads((fleet.site.directory / "postgres-report" / "report.json").read_text())
    assert found["clients"]["app1"]["status"] == "ok"
    assert found["clients"]["app1"]["identities"] == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("login", "rule", "message"),
    [
        ("password", {"method": "trust"}, "(login: password) for a password: boss in database postgres: postgres_ser"),
        ("both", {"method": "scram-sha-256"}, "(login: both) for a certificate and a password: clerk in database po"),
        ("both", {"method": "cert"}, "(login: both) for a certificate and a password: clerk in database postgres"),
    ],
)
def test_rules_of_ones_own_that_do_not_ask_for_the_login_stop_the_run_before_anything_changes(
    fleet: Passwords, login: str, rule: dict[str, str], message: str
) -> None:
    before = fleet.site.files()
    done = fleet.run(login, postgres_server_hba=[{"user": "all", **rule}])
    assert message in refused(done)
    assert "PLAY [Servers]" not in done.stdout
    assert fleet.site.files() == before


def test_the_guard_on_the_server_finds_what_the_controller_does_not_know(fleet: Passwords) -> None:
    before = (fleet.site.cluster.data / "pg_hba.conf").read_bytes()
    template = fleet.site.directory / "own.j2"
    template.write_text(
        "hostssl all all all cert\nhostnossl all all all reject\nhostnossl replication all all reject\n"
    )
    done = fleet.run("password", "--skip-tags", "verify", postgres_server_hba_template=str(template))
    assert "asks these roles of postgres_client_identities (login: password) for a password" in refused(done)
    assert (fleet.site.cluster.data / "pg_hba.conf").read_bytes() == before


def test_a_role_with_two_logins_stops_the_run(fleet: Passwords) -> None:
    inventory = fleet.site.inventory()
    first, second = fleet.site.os_users
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"] = [
        {"role": "clerk", "os_user": first},
        {"role": "clerk", "os_user": second, "login": "password", "databases": ["postgres"]},
    ]
    done = fleet.site.run(inventory=inventory)
    message = "role 'clerk' has login certificate for database all and login password for database postgres"
    assert message in refused(done)
    assert "PLAY [Servers]" not in done.stdout


@ONLY_THOROUGH
def test_an_unknown_login_is_named_with_what_is_allowed(fleet: Passwords) -> None:
    done = fleet.run("passwd")
    assert "value of login must be one of: certificate, password, both, got: passwd" in refused(done)


@ONLY_THOROUGH
def test_an_identity_changes_from_login_to_login_and_back(fleet: Passwords) -> None:
    fleet.know()
    for login, method in (
        ("certificate", "cert"),
        ("both", "scram-sha-256 clientcert=verify-full"),
        ("password", "scram-sha-256"),
        ("both", "scram-sha-256 clientcert=verify-full"),
        ("certificate", "cert"),
        ("password", "scram-sha-256"),
    ):
        output = well(fleet.run(login))
        assert fleet.rules()[1] == f"hostssl postgres clerk all {method}"
        assert fleet.pairs() == ([] if login == "password" else ["postgresql.crt", "postgresql.key"])
        assert re.search(r"(\d+) connections from 1 client hosts: \1 as expected", output), output
        assert changed(well(fleet.run(login))) == {"db1": 0, "app1": 0}


@ONLY_THOROUGH
def test_with_both_the_certificate_is_proven_up_to_the_prompt(fleet: Passwords) -> None:
    fleet.forget()
    output = well(fleet.run("both"))
    assert output.count("up to the password prompt: the server took the certificate, and .pgpass of this OS user") == 4
    assert output.count(PROVEN) == 4
    well(fleet.run("password"))


@ONLY_THOROUGH
def test_a_certificate_stays_as_long_as_the_server_asks_for_it(fleet: Passwords) -> None:
    well(fleet.run("certificate"))
    output = well(fleet.run("password", "--limit", "app1"))
    assert fleet.pairs() == ["postgresql.crt", "postgresql.key"]
    assert changed(output) == {"app1": 0}
    well(fleet.run("password"))
    assert fleet.pairs() == []


@ONLY_THOROUGH
def test_the_roots_are_replaced_in_a_fleet_with_passwords_although_one_had_a_certificate(fleet: Passwords) -> None:
    assert fleet.ledger("client") != [], "which nobody has any more"
    root = fleet.home / ".postgresql" / "root.crt"
    before = root.read_bytes()
    output = well(fleet.run("password", playbook=ROTATE, postgres_ca_outside_trust="none"))
    assert root.read_bytes() != before
    assert "up to the password prompt" in output
    assert fleet.pairs() == []
