# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client host whose database is managed by a provider, and nothing else: the guide, and a provider that rotates."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.daemons import run_as
from ansible_collections.pgops.tls.tests.endings import well
from ansible_collections.pgops.tls.tests.providers import Generation, pem
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, ONLY_THOROUGH, RECAP
from cryptography.hazmat.primitives.serialization import Encoding

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user")
G1, G2 = (Generation.made(number, start=TODAY - 10 * DAY) for number in (1, 2))
NAME = "orders.provider.example"


class World:
    """The fleet of the guide: one client host, and a provider's server, which is here."""

    def __init__(self, site: Any, clients: Path) -> None:
        self.site, self.clients = site, clients
        self.user = site.os_users[0]
        page = guides.FOLDER / "guide_managed.rst"
        self.blocks = guides.blocks(page.name, page.read_text(encoding="utf-8"))
        site.cluster.hba("hostssl all all all trust")
        site.cluster.psql("CREATE ROLE orders LOGIN")
        site.cluster.psql("CREATE DATABASE orders")
        (site.directory / "group_vars").mkdir()
        (site.directory / "group_vars" / "provider.pem").write_bytes(pem(G1.root.certificate))
        (site.directory / "group_vars" / "provider-next.der").write_bytes(
            G2.root.certificate.public_bytes(Encoding.DER)
        )
        self.show(G1)

    def show(self, generation: Generation) -> None:
        names = ["localhost", NAME]
        generation.serve(self.site.cluster, self.clients, names, start=TODAY - DAY, days=100)

    def here(self, text: str) -> str:
        """Return text of the guide with what differs here."""
        home = str(self.site.homes / self.user)
        return text.replace(NAME, "localhost").replace("/home/shop", home).replace("app1.example.com", "app1")

    def inventory(self) -> dict[str, Any]:
        """Return the inventory with the variables of the guide."""
        found: dict[str, Any] = self.site.inventory()
        del found["postgres_servers"]
        declared = yaml.safe_load(next(one.text for one in self.blocks if "group_vars" in one.caption))
        [identity] = declared["postgres_client_identities"]
        identity["os_user"] = self.user
        identity["endpoints"] = [{"host": "localhost", "port": self.site.cluster.port}]
        found["postgres_clients"] = {"hosts": {"app1": {}}, "vars": declared}
        return found

    def command(self, program: str) -> list[str]:
        """Return the only command of a program in the guide, as it has to be here."""
        [found] = [line for one in self.blocks for line, _output in one.commands() if f"{program}" in line]
        return shlex.split(self.here(found))

    def play(self, playbook: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        argv = self.command(playbook)
        assert argv == ["ansible-playbook", "-i", "inventory.yml", playbook]
        inventory = self.inventory()
        inventory["postgres_clients"]["vars"].update(variables)
        done: subprocess.CompletedProcess[str] = self.site.run(inventory=inventory, playbook=playbook)
        return done

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the report's data."""
        data = json.loads((self.site.directory / "postgres-report" / "report.json").read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = data["clients"]["app1"]["endpoints"]
        return found


@pytest.fixture(scope="module")
def world(site_on: Any, billing: Any, client_authority: Any) -> World:
    return World(site_on(billing), client_authority.root)


def test_a_bundle_with_a_leaf_stops_the_run_before_it_connects_to_a_host(world: World) -> None:
    wrong = world.site.directory / "group_vars" / "wrong.pem"
    wrong.write_bytes(pem(G1.root.certificate) + pem(G1.leaf()[0]))
    done = world.play("pgops.tls.site", postgres_client_trust=["group_vars/wrong.pem"])
    assert done.returncode != 0
    assert f"app1: postgres_client_trust: {wrong}: expected certificates of CAs, found CN=orders" in done.stdout
    assert not (world.site.homes / world.user / ".postgresql").exists()
    assert not world.site.authorities.exists()


def test_the_guide(world: World) -> None:
    first = world.play("pgops.tls.site")
    assert well(first), first.stdout + first.stderr
    again = world.play("pgops.tls.site")
    assert RECAP.findall(again.stdout) == [("app1", "0", "0", "0")], again.stdout
    assert "left out" not in again.stdout + again.stderr, "nothing is left out, and nothing fails"
    psql = run_as(world.user, *world.command("psql service="))
    assert psql.stdout == "t\n", psql.stderr
    module = world.command("endpoint_info")
    module[-1] += f" port={world.site.cluster.port}"
    argv = [sys.executable, "-m", "ansible", "adhoc", *module[1:]]
    done = subprocess.run(
        argv, cwd=world.site.directory, env=world.site.settings, capture_output=True, text=True, check=False
    )
    [row] = json.loads(done.stdout.partition("=>")[2])["trust"]
    assert (row["root"], row["holds_root"], row["roots"], row["findings"]) == ("CN=Provider Root G1", True, 2, [])
    report = world.play("pgops.tls.report")
    assert "All is well" in (world.site.directory / "postgres-report" / "report.html").read_text(), report.stdout
    assert [(one["root"], one["findings"]) for one in world.rows()] == [("CN=Provider Root G1", [])]


@ONLY_THOROUGH
def test_after_the_change_the_report_names_who_does_not_have_the_new_root(world: World) -> None:
    world.show(G2)
    world.play("pgops.tls.report")
    assert [(one["root"], one["findings"]) for one in world.rows()] == [("CN=Provider Root G2", [])]
