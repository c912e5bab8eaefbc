# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way out of a fleet with two servers: all of it is certain before anything changes, and nobody is cut off."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import adoption, loops
from ansible_collections.pgops.tls.tests.adoption import REMOVE
from ansible_collections.pgops.tls.tests.shared import SILENT


@dataclasses.dataclass
class Fleet:
    """The servers db1 and db2, each with an own certificate of before, and the client host app1."""

    site: Any
    second: Any  # the same, seen from db2
    programs: list[adoption.Client]

    def inventory(self, db2: dict[str, Any] | None = None, clients: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the inventory, with more variables of db2 and more client hosts."""
        found: dict[str, Any] = self.site.inventory()
        found["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"][0]["databases"] = ["postgres"]
        found["postgres_servers"]["hosts"]["db2"] = {
            **self.site.server_on(self.second.cluster, "localhost"),
            **(db2 or {}),
        }
        found["postgres_clients"]["hosts"].update(clients or {})
        return found

    def remove(self, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the playbook."""
        done: subprocess.CompletedProcess[str] = self.site.run(
            *options, playbook=REMOVE, inventory=self.inventory(**more)
        )
        return done

    def refuses(self, said: str, *options: str, **more: Any) -> None:
        """Check that the playbook stops, changes nothing on any host, and leaves everybody connected."""
        before = self.files()
        done = self.remove(*options, **more)
        assert done.returncode, done.stdout
        assert re.search(said, done.stdout), done.stdout + done.stderr
        assert set(changes(done).values()) == {0}, done.stdout
        assert self.files() == before
        assert set(adoption.outcomes(self.programs).values()) == {""}

    def files(self) -> dict[str, tuple[object, ...]]:
        """Return the files of all hosts."""
        return {**self.site.files(), **self.second.files()}


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tasks changed each host."""
    recap = re.findall(r"^(\S+) +: .*changed=(\d+) ", done.stdout, re.MULTILINE)
    return {host: int(changed) for host, changed in recap}


@pytest.fixture
def fleet(
    site_on: Callable[[Any], Any], cluster: Any, shared_cluster: Any, server_authority: Any, client_authority: Any
) -> Fleet:
    for one in (cluster, shared_cluster):
        one.psql("CREATE ROLE app LOGIN")
        one.hba("host all app all trust")
        one.serve(*server_authority.issue("own", "serverAuth", "DNS:localhost"), client_authority.root)
    site = site_on(cluster)
    programs = [
        adoption.client(one, name, site.os_users[0], user="app", dbname="postgres", sslmode="verify-full")
        for name, one in (("db1", cluster), ("db2", shared_cluster))
    ]
    made = Fleet(site, dataclasses.replace(site, cluster=shared_cluster), programs)
    done = site.run("--skip-tags", "verify", inventory=made.inventory())
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(adoption.outcomes(programs).values()) == {""}
    return made


def test_nothing_changes_anywhere_before_all_of_it_is_certain_and_nobody_is_cut_off(fleet: Fleet) -> None:
    shop, other = fleet.site.os_users
    second, app2 = fleet.second.cluster, {"postgres_client_identities": [{"role": "app", "os_user": other}]}
    fleet.refuses(
        rf"Not in --limit: app2 \({other}/app\) verify db2, whose certificates would go\.\\n"
        rf"In --limit: app1 \({shop}/app\) would lose their certificates for db1, which stay\.",
        "--limit",
        "app1,db2",
        clients={"app2": app2},
    )
    answer = ("-e", "postgres_server_remove_in_use=true")
    own, kept = second.data / "server.key", second.data / "kept.key"
    own.rename(kept)
    fleet.refuses(r"fatal: \[db2\].*its own files cannot be used.*Nothing was changed", "--limit", "app1,db2", *answer)
    kept.rename(own)
    lost = r"UNREACHABLE(?s:.*)Nothing was changed on any host, as the removal would not succeed on db2; see above"
    fleet.refuses(rf"fatal: \[db2\]: {lost}", "--limit", "all", db2=SILENT)

    before = fleet.files()
    foreseen = fleet.remove("--limit", "all", "--check", "--diff")
    assert changes(foreseen) == {"db1": 1, "db2": 1, "app1": 1}, foreseen.stdout
    assert foreseen.stdout.count("-line ") == 2, "of each server the include goes, and is told once"
    assert fleet.files() == before

    program = fleet.programs[0]
    with loops.staying(program.command, env=program.environment, cwd="/"):  # its certificate will not be trusted by db1
        done = fleet.remove("--limit", "all")
    assert changes(done) == {"db1": 2, "db2": 2, "app1": 1}, done.stdout
    assert "pgops" not in "".join((one.data / "postgresql.conf").read_text() for one in (fleet.site.cluster, second))
    assert not list((fleet.site.homes / shop).rglob("*pgops*"))
