# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of the three fleets of page guide_examples, as their teams have them before the first run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests import fleets
from ansible_collections.pgops.tls.tests.services import conftest as services

DOMAIN = ".example.test"  # in place of the one of the page, which nobody may answer for
SUITES = {
    **dict.fromkeys(("db1", "app1", "shop1", "shop2", "shop3", "proxy1", "web1", "web2", "pool1"), "trixie"),
    **dict.fromkeys(("shop-db", "billing-db", "office1"), "bookworm"),
}
ALIASES = {"proxy1": [f"shop{DOMAIN}"]}
OS_USERS = {"app1": ["shop"], "web2": ["shop"], "web1": ["shop", "deploy"], "office1": ["invoices", "clerk", "report"]}


class Fleet(services.Fleet):
    """All machines, whose short names the tests use. Each has its whole name in the inventories."""

    def declaration(self) -> dict[str, Any]:
        """Return an inventory of all machines, to start them."""
        suites = fleets.hosts_of(SUITES).items()
        hosts = {f"{name}{DOMAIN}": {**own, "test_aliases": [name, *ALIASES.get(name, [])]} for name, own in suites}
        reached = fleets.molecule_variables("containers")
        machines = {"containers": {"hosts": hosts, "vars": reached}}
        return {"all": {"children": machines, "vars": fleets.molecule_variables("all")}}

    def command(self, host: str, *argv: str, user: str = "root", home: str = "") -> list[str]:
        """Return a command line that runs a command in a container, by its short name."""
        return super().command(host + DOMAIN, *argv, user=user, home=home)

    def prepare(self) -> None:
        """Make of the containers what their teams have."""
        self.start_patroni()
        self.with_databases("db1", "shop", ["app"])
        self.with_databases("shop-db", "shop", ["app", "migrations", "report"])
        self.with_databases("billing-db", "billing", ["app", "clerk"])
        for host, os_users in OS_USERS.items():
            self.inside(host, "systemctl", "stop", "postgresql")
            for os_user in os_users:
                self.inside(host, "useradd", "--create-home", os_user)

    def with_databases(self, host: str, database: str, roles: Iterable[str]) -> None:
        """Make a database and its roles."""
        for role in roles:
            self.sql(host, f"CREATE ROLE {role} LOGIN PASSWORD 'before'")
        self.sql(host, f"CREATE DATABASE {database}")

    def configure_pooler(self, name: str, text: str) -> None:
        """Write a file of PgBouncer, and start it after the last one."""
        start = "systemctl stop postgresql; cat > $0; case $0 in *userlist*) systemctl restart pgbouncer; esac"
        self.inside("pool1", "sh", "-ec", start, name, stdin=text)

    def address(self, host: str) -> str:
        """Return from where a machine connects."""
        return self.inside(host, "hostname", "--all-ip-addresses").split()[0]


class Team:
    """A team in the directory of its inventory."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.folder, self.fleet = folder, fleet
        own = {**fleets.molecule_variables("all"), "postgres_ca_directory": str(folder / "postgres-ca")}
        self.write("group_vars/all/containers.yml", yaml.safe_dump(own))
        for group in ("postgres_servers", "postgres_poolers", "postgres_clients"):  # localhost is none of them
            self.write(f"group_vars/{group}/containers.yml", yaml.safe_dump(fleets.molecule_variables("containers")))
        self.environment = {**os.environ, **fleets.environment(), "ANSIBLE_NOCOLOR": "1"}

    def write(self, name: str, text: str) -> None:
        """Write a file of the team."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Start the machines; the caller of these tests removes them."""
    made = Fleet(tmp_path_factory.mktemp("examples"))
    made.start()
    return made


@pytest.fixture
def team(tmp_path: Path, fleet: Fleet) -> Team:
    """Give a team that has no inventory yet."""
    return Team(tmp_path, fleet)
