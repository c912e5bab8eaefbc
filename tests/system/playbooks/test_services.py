# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that are not PostgreSQL in the fleet of site.yml: postgres_exporter, and pgBackRest's TLS server."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.daemons import Service, fetch, run_as
from ansible_collections.pgops.tls.tests.endings import as_line, refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP
from ansible_collections.pgops.tls.tests.system.conftest import free_port

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("prometheus-postgres-exporter"), reason="there is no postgres_exporter here"),
    pytest.mark.skipif(not shutil.which("pgbackrest"), reason="there is no pgBackRest here"),
]


class World:
    """A site with an exporter and pgBackRest's server of the first OS user, and clients of both of the second one."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site = site
        self.owner, self.client = site.os_users
        self.web, self.backup = free_port(), free_port()
        self.exporter = Service.written(folder / "exporter", self.owner, "exporter", self._exporter(folder))
        self.pgbackrest = Service.written(folder / "pgbackrest", self.owner, "pgbackrest", self._pgbackrest(folder))
        self.hooks = {
            "monitor": {"command": [str(self.exporter.script), "restart"]},
            "pgbackrest": {"command": [str(self.pgbackrest.script), "reload"]},
        }

    def _exporter(self, folder: Path) -> str:
        own = self.files(self.owner) / "web"
        (folder / "web.yml").write_text(
            f"tls_server_config:\n  cert_file: {own}/postgresql.crt\n  key_file: {own}/postgresql.key\n"
            f"  client_ca_file: {own}/trusted-clients.crt\n  client_auth_type: RequireAndVerifyClientCert\n"
        )
        port = self.site.cluster.port
        role, roots = self.files(self.owner) / "monitor", self.files(self.owner) / "root.crt"
        source = f"host=localhost port={port} user=monitor dbname=postgres sslmode=verify-full sslrootcert={roots}"
        source += f" sslcert={role}/postgresql.crt sslkey={role}/postgresql.key"
        options = f"--web.config.file={folder}/web.yml --web.listen-address=127.0.0.1:{self.web}"
        return f"HOME={self.site.homes / self.owner} DATA_SOURCE_NAME='{source}' prometheus-postgres-exporter {options}"

    def _pgbackrest(self, folder: Path) -> str:
        own, repository = self.files(self.owner) / "pgbackrest", self.site.homes / self.owner / "repository"
        (folder / "server.conf").write_text(
            f"[global]\nrepo1-path={repository}\nlog-path={folder}/pgbackrest\nlog-level-console=detail\n"
            f"lock-path={folder}/pgbackrest\n"
            f"tls-server-address=127.0.0.1\ntls-server-port={self.backup}\n"
            f"tls-server-cert-file={own}/postgresql.crt\ntls-server-key-file={own}/postgresql.key\n"
            f"tls-server-ca-file={own}/trusted-clients.crt\ntls-server-auth=backup1=demo\n"
        )
        self.folder = folder
        (folder / "client.conf").write_text(self.client_conf("backup1"))
        (folder / "other.conf").write_text(self.client_conf("backup2"))
        return f"pgbackrest --config={folder}/server.conf server"

    def client_conf(self, role: str) -> str:
        mine = self.files(self.client)
        return (
            f"[global]\nrepo1-host=localhost\nrepo1-host-type=tls\nrepo1-host-port={self.backup}\n"
            f"repo1-host-config={self.folder}/server.conf\n"  # on a host of its own it is the usual one
            f"repo1-host-ca-file={mine}/root.crt\nrepo1-host-cert-file={mine}/{role}/postgresql.crt\n"
            f"repo1-host-key-file={mine}/{role}/postgresql.key\nlog-level-file=off\nlock-path=/tmp\n"
            f"repo1-path={self.site.homes / self.owner / 'repository'}\n"
            "[demo]\npg1-path=/nonexistent\n"
        )

    def files(self, os_user: str) -> Path:
        return Path(self.site.homes / os_user / ".postgresql/pgops/current")

    def pair(self, os_user: str, name: str) -> list[Path]:
        return [self.files(os_user) / name / f"postgresql.{end}" for end in ("crt", "key")]

    def inventory(self) -> dict[str, Any]:
        found: dict[str, Any] = self.site.inventory()
        owner, client = {"os_user": self.owner}, {"os_user": self.client}
        hooks = self.hooks
        found["postgres_clients"]["hosts"] = {
            "app1": {
                "postgres_client_identities": [
                    {"role": "monitor", **owner, "databases": ["postgres"], "after_change": hooks["monitor"]},
                    {"name": "web", **owner, "names": ["localhost"], "authority": "metrics",
                     "formats": ["pem", "bundle"], "after_change": hooks["monitor"]},
                    {"name": "pgbackrest", **owner, "names": ["localhost"], "authority": "backup",
                     "after_change": hooks["pgbackrest"]},
                ]
            },
            "app2": {
                "postgres_client_identities": [
                    {"role": "prometheus", **client, "authority": "metrics"},
                    {"role": "backup1", **client, "authority": "backup"},
                    {"role": "backup2", **client, "authority": "backup"},
                ]
            },
        }  # fmt: skip
        return found

    def run(self, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self.site.run(*options, inventory=self.inventory(), **more)
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        return done

    def scrape(self, pair: list[Path]) -> str:
        return fetch(f"https://localhost:{self.web}/metrics", self.files(self.client) / "root.crt", pair)

    def ping(self) -> subprocess.CompletedProcess[str]:
        conf = f"--config={self.folder}/client.conf"
        return run_as(self.client, "pgbackrest", conf, f"--tls-server-port={self.backup}", "server-ping", "localhost")

    def info(self, conf: str = "client") -> subprocess.CompletedProcess[str]:
        """Ask the repository, which takes a client certificate."""
        return run_as(self.client, "pgbackrest", f"--config={self.folder}/{conf}.conf", "--stanza=demo", "info")

    def serials(self) -> dict[str, str]:
        """Return the serial number of the leaf in each file of both OS users."""
        found = {}
        for path in self.site.homes.glob("*/.postgresql/pgops/current/*/postgresql.crt"):
            found[path.parent.name] = f"{certificate.read_pem(path.read_text(), str(path))[0].serial:x}"
        return found

    def served(self, port: int) -> str:
        """Return the serial number of the certificate that a service shows."""
        context = ["s_client", "-connect", f"localhost:{port}", "-servername", "localhost"]
        command = f"openssl {' '.join(context)} </dev/null 2>/dev/null | openssl x509 -noout -serial"
        said = subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stdout  # noqa: S602
        return said.strip().partition("=")[2].lower().lstrip("0")

    def seen(self) -> str:
        """Return the serial number of the exporter's certificate, as PostgreSQL sees it."""
        query = (
            "SELECT DISTINCT client_serial FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'monitor'"
        )
        said = self.site.cluster.psql(query)
        return f"{int(said):x}" if said.isdigit() else said


@pytest.fixture(scope="module")
def world(site_on: Callable[[Any], Any], shared_cluster: Any) -> Iterator[World]:
    shared_cluster.psql("CREATE ROLE monitor LOGIN IN ROLE pg_monitor")
    folder = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/tmp"))
    folder.chmod(0o755)  # for the OS users
    made = World(site_on(shared_cluster), folder)
    try:
        yield made
    finally:
        made.exporter.stop()
        made.pgbackrest.stop()
        shutil.rmtree(folder)


def changed(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: int(one) for host, one, _unreachable, _failed in RECAP.findall(done.stdout)}


def test_check_mode_names_the_authorities_the_certificates_and_the_hooks(world: World) -> None:
    before = world.site.files()
    output = well(world.run("--check", "--diff"))
    for name in ("client", "metrics", "backup"):
        assert f"make the {name} CA" in output
    assert world.site.files() == before
    assert not (world.exporter.folder / "pid").exists()


def test_the_first_run_sets_everything_up_and_the_second_changes_nothing(world: World) -> None:
    world.hooks["pgbackrest"]["command"][1] = "restart"  # it does not run yet
    output = well(world.run())
    assert sorted(world.serials()) == ["backup1", "backup2", "monitor", "pgbackrest", "prometheus", "web"]
    assert f"{world.owner}/web: after_change: command {world.exporter.script} succeeded" not in output, "once"
    assert "app2" in re.findall(r"^(\w+) .*changed=", output, re.MULTILINE)
    pids = world.exporter.pid, world.pgbackrest.pid
    assert changed(world.run()) == {"db1": 0, "app1": 0, "app2": 0}
    assert (world.exporter.pid, world.pgbackrest.pid) == pids
    world.hooks["pgbackrest"]["command"][1] = "reload"
    assert set(changed(world.run()).values()) == {0}, "another command is no change of files"


def test_postgresql_is_told_nothing_of_services(world: World) -> None:
    rules = (world.site.cluster.data / "pg_hba.conf").read_text()
    assert re.findall(r"^hostssl .*", rules, re.MULTILINE) == ["hostssl postgres monitor all cert"]
    services = (world.site.homes / world.owner / ".pg_service.conf").read_text()
    assert re.findall(r"^\[(.*)\]$", services, re.MULTILINE) == ["monitor", "monitor@db1"]
    assert not (world.site.homes / world.client / ".pg_service.conf").exists()


def test_the_exporter_answers_its_scraper_alone_and_logs_in_to_postgresql(world: World) -> None:
    assert "\npg_up 1\n" in world.scrape(world.pair(world.client, "prometheus")), world.exporter.log()
    assert world.seen() == world.serials()["monitor"]
    for nobody in ([], world.pair(world.client, "backup1"), world.pair(world.owner, "monitor")):
        with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
            world.scrape(nobody)


def test_pgbackrest_answers_the_clients_of_its_authority(world: World) -> None:
    done = world.ping()
    assert done.returncode == 0, done.stdout + done.stderr
    done = world.info()
    assert "missing stanza path" in done.stdout, done.stdout + done.stderr
    assert "access denied" in (world.info("other").stdout + world.info("other").stderr)


@ONLY_THOROUGH
def test_a_renewal_reaches_both_services_within_the_run(world: World) -> None:
    before, pids = world.serials(), (world.exporter.pid, world.pgbackrest.pid)
    well(world.run(postgres_client_renew=True))
    after = world.serials()
    assert not {*before.values()} & {*after.values()}
    assert world.served(world.web) == after["web"]
    assert world.served(world.backup) == after["pgbackrest"]
    assert "\npg_up 1\n" in world.scrape(world.pair(world.client, "prometheus"))
    assert world.seen() == after["monitor"]
    assert world.exporter.pid != pids[0], "restarted"
    assert world.pgbackrest.pid == pids[1], "reloaded"
    assert "missing stanza path" in world.info().stdout
    assert changed(world.run()) == {"db1": 0, "app1": 0, "app2": 0}


@ONLY_THOROUGH
def test_a_hook_that_fails_fails_its_host_and_is_run_again(world: World) -> None:
    world.hooks["monitor"]["command"][0] = "/bin/false"
    done = world.run(postgres_client_renew=True)
    said = refused(done)
    assert "after_change: command /bin/false failed: it ended with status 1. The new files stay." in said
    assert re.findall(r"^app1 .*failed=1", done.stdout, re.MULTILINE)
    assert "app1 (client): after_change:" in as_line(done), "the summary names it"
    old = world.exporter.pid
    world.hooks["monitor"]["command"][0] = str(world.exporter.script)
    assert changed(world.run()) == {"db1": 0, "app1": 1, "app2": 0}
    assert world.exporter.pid != old
    assert world.seen() in ("", world.serials()["monitor"])
    assert changed(world.run()) == {"db1": 0, "app1": 0, "app2": 0}


def test_the_ledger_and_the_report_know_them(world: World) -> None:
    lines = (world.site.authorities / "ledger.jsonl").read_text()
    for name, who in (("server", "app1/{0}/web"), ("metrics", "app2/{1}/prometheus"), ("backup", "app2/{1}/backup1")):
        id_ = who.format(world.owner, world.client)
        assert re.search(rf'"authority": ?"{name}".*"id": ?"{id_}"|"id": ?"{id_}".*"authority": ?"{name}"', lines), (
            lines
        )
    well(world.run(playbook="pgops.tls.report"))
    page = next(world.site.directory.rglob("*.html")).read_text()
    words = re.sub(r"<[^>]+>", "", page)
    assert f"{world.owner}/web" in words
    assert f"{world.client}/prometheus" in words


@ONLY_THOROUGH
def test_a_revoked_client_is_in_the_list_beside_the_certificate(world: World) -> None:
    revoked = world.serials()["backup2"]
    entries = [{"serial": revoked, "authority": "backup"}]
    well(world.run(postgres_ca_revoked=entries))
    path = world.files(world.owner) / "pgbackrest/trusted-clients.crl"
    said = subprocess.run(
        ["openssl", "crl", "-noout", "-text", "-in", str(path)], capture_output=True, text=True, check=True
    )
    assert revoked.upper() in said.stdout
    assert world.serials()["backup2"] != revoked
    assert changed(world.run(postgres_ca_revoked=entries)) == {"db1": 0, "app1": 0, "app2": 0}


@ONLY_THOROUGH
def test_all_roots_can_be_replaced_under_services(world: World) -> None:
    roots = {path: path.read_text() for path in world.site.homes.glob("*/.postgresql/pgops/current/*.crt")}
    well(world.run(playbook="pgops.tls.rotate_ca", postgres_ca_outside_trust="none"))
    assert all(path.read_text() != text for path, text in roots.items())
    after = world.serials()
    assert world.served(world.web) == after["web"]
    assert world.served(world.backup) == after["pgbackrest"]
    assert "\npg_up 1\n" in world.scrape(world.pair(world.client, "prometheus"))
    assert "missing stanza path" in world.info().stdout
    assert changed(world.run()) == {"db1": 0, "app1": 0, "app2": 0}


def test_a_removal_takes_their_files_too(world: World) -> None:
    files = world.site.homes / world.client / ".postgresql" / "pgops"
    assert files.exists()
    well(world.run("--limit=app2", playbook="pgops.tls.remove"))
    assert not files.exists()
