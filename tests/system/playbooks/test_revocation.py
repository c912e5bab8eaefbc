# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml revokes: by serial, by role, by host; and what is revoked stays so when its entry is taken out."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making OS users takes root")
ROLES = ("app", "extra", "report")


class Credential(NamedTuple):
    """Copies of a certificate and its key, as somebody may have made them, and the serial number."""

    role: str
    certificate: Path
    key: Path
    serial: str


class Fleet:
    """A server; on app1 the roles app and extra, on app2 the role report."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.clients = {"app1": ["app", "extra"], "app2": ["report"]}

    def run(self, *revoked: dict[str, str]) -> subprocess.CompletedProcess[str]:
        wanted = self.site.inventory()
        user = dict(zip(("app1", "app2"), self.site.os_users))
        wanted["postgres_clients"]["hosts"] = {
            host: {"postgres_client_identities": [{"role": role, "os_user": user[host]} for role in roles]}
            for host, roles in self.clients.items()
        }
        done: subprocess.CompletedProcess[str] = self.site.run(inventory=wanted, postgres_ca_revoked=list(revoked))
        return done

    def home(self, role: str) -> Path:
        number = 1 if role == "report" else 0
        path: Path = self.site.homes / self.site.os_users[number] / ".postgresql"
        return path

    def copy(self, role: str) -> Credential:
        """Copy what a role logs in with, as it is now."""
        source = self.home(role) / "pgops" / "current" / role
        lines = (self.site.authorities / "ledger.jsonl").read_text().splitlines()
        serial = [line["serial"] for line in map(json.loads, lines) if line["subject"] == role][-1]
        made = [self.folder / f"{serial}.{kind}" for kind in ("crt", "key")]
        for path, name in zip(made, ("postgresql.crt", "postgresql.key")):
            path.write_bytes((source / name).read_bytes())
            path.chmod(0o600)
        return Credential(role, *made, serial)

    def log_in(self, one: Credential) -> str:
        """Return what psql says with a copy: the role, or why there is no connection."""
        conninfo = (
            f"host=localhost hostaddr=127.0.0.1 port={self.site.cluster.port} user={one.role} dbname=postgres "
            f"sslmode=verify-full sslrootcert={self.home('app') / 'root.crt'} sslcert={one.certificate} "
            f"sslkey={one.key}"
        )
        command = [str(self.site.cluster.programs / "psql"), "-XAt", "-d", conninfo, "-c", "SELECT current_user"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "HOME": "/"})
        return done.stdout + done.stderr

    def serial_of_server(self) -> str:
        lines = (self.site.authorities / "ledger.jsonl").read_text().splitlines()
        return str([line["serial"] for line in map(json.loads, lines) if line["id"] == "db1"][-1])


@pytest.fixture(scope="module")
def fleet(site_on: Callable[[Any], Any], shared_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    for role in ROLES:
        shared_cluster.psql(f"CREATE ROLE {role} LOGIN")
    found = Fleet(site_on(shared_cluster), tmp_path_factory.mktemp("copies"))
    settled(found.run())
    return found


def settled(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tasks changed each host, of a run that went well and verified every connection."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(\d+) connections from \d client hosts?: \1 as expected", done.stdout), done.stdout
    recap = re.findall(r"^(\S+) +: .*changed=(\d+) ", done.stdout, re.MULTILINE)
    return {host: int(changed) for host, changed in recap}


def test_before_the_first_revocation_nobody_has_a_list(fleet: Fleet) -> None:
    assert not list(fleet.site.cluster.home.rglob("crl.pem"))
    assert not list(fleet.site.homes.rglob("root.crl"))


def test_by_serial_the_holder_gets_another_certificate_and_the_old_one_is_refused(fleet: Fleet) -> None:
    stolen, other = fleet.copy("app"), fleet.copy("report")
    assert fleet.log_in(stolen) == "app\n"
    entry = {"serial": stolen.serial.upper(), "reason": "keyCompromise"}
    done = fleet.run(entry)
    assert all(settled(done).values()), "all hosts begin to check"
    assert "certificate revoked" in fleet.log_in(stolen)
    assert fleet.log_in(other) == "report\n"
    renewed = fleet.copy("app")
    assert renewed.serial != stolen.serial
    assert fleet.log_in(renewed) == "app\n"
    assert settled(fleet.run(entry)) == {"db1": 0, "app1": 0, "app2": 0}


def test_a_role_that_is_still_declared_stops_the_run_before_anything_changes(fleet: Fleet) -> None:
    before = fleet.site.files()
    done = fleet.run({"role": "extra"}, {"host": "db1"}, {"host": "app2"})
    assert done.returncode != 0
    identity = f"{fleet.site.os_users[0]}/extra"
    for said in (
        f"postgres_ca_revoked[0]: role 'extra' must have no valid certificate, but identity {identity} of host app1",
        "postgres_ca_revoked[1]: host 'db1' must have no valid certificate, but group postgres_servers gives it one",
        "postgres_ca_revoked[2]: host 'app2' must have no valid certificate, but postgres_client_identities",
    ):
        assert said in done.stdout, done.stdout
    assert fleet.site.files() == before


def test_what_was_never_issued_stops_the_run_before_anything_changes(fleet: Fleet) -> None:
    before = fleet.site.files()
    done = fleet.run({"role": "ap"})
    assert "postgres_ca_revoked: role: ap: no certificate of it is in ledger.jsonl" in done.stdout + done.stderr
    assert fleet.site.files() == before


def test_by_role_and_by_host_whoever_is_gone_is_refused(fleet: Fleet) -> None:
    gone = [fleet.copy("extra"), fleet.copy("report")]
    fleet.clients = {"app1": ["app"]}
    done = fleet.run({"role": "extra"}, {"host": "app2", "reason": "cessationOfOperation"})
    assert settled(done)["db1"]
    for one in gone:
        assert "certificate revoked" in fleet.log_in(one)
    assert fleet.log_in(fleet.copy("app")) == "app\n"


def test_a_server_is_given_another_certificate_before_its_clients_refuse_the_old_one(fleet: Fleet) -> None:
    before = fleet.serial_of_server()
    assert all(settled(fleet.run({"serial": before})).values())
    assert fleet.serial_of_server() != before


def test_without_the_entries_all_stay_revoked_and_nothing_changes(fleet: Fleet) -> None:
    assert settled(fleet.run()) == {"db1": 0, "app1": 0}
    for path in fleet.folder.glob("*.crt"):
        one = Credential("app", path, path.with_suffix(".key"), "")
        said = fleet.log_in(one)
        assert ("certificate revoked" in said) == (path.stem != fleet.copy("app").serial), said
