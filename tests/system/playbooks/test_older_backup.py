# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authorities come from an older backup: what hosts show is held against it, and no revocation is forgotten."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making OS users takes root")


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that was set up: a server, and a client host with one identity."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    well(made.run())
    return made


def well(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a run that went well, without its line breaks."""
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def stopped(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout.replace('\\"', '"')


def ledger(site: Any) -> dict[str, str]:
    """Return the newest serial number of each id."""
    lines = map(json.loads, (site.authorities / "ledger.jsonl").read_text().splitlines())
    return {line["id"]: line["serial"] for line in lines}


class Backup:
    """A copy of the authorities' directory."""

    def __init__(self, site: Any) -> None:
        self.site, self.path = site, site.directory / "backup"
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(site.authorities, self.path)

    def restore(self) -> None:
        shutil.rmtree(self.site.authorities)
        shutil.copytree(self.path, self.site.authorities)


@pytest.fixture
def backup(site: Any) -> Backup:
    return Backup(site)


def test_certificates_in_use_go_back_into_the_ledger_and_a_rollover_counts_their_holders(
    site: Any, backup: Backup
) -> None:
    old = ledger(site)
    well(site.run(postgres_server_renew=True, postgres_client_renew=True))
    in_use = ledger(site)
    assert in_use.keys() == old.keys()
    assert not {*in_use.values()} & {*old.values()}
    backup.restore()
    before = site.files()
    told = well(site.run("--check"))
    assert "ledger.jsonl did not hold certificates that are in use: " in told
    assert site.files() == before
    output = well(site.run())
    for id_, serial in in_use.items():
        assert re.search(rf"{re.escape(id_)} \((server|client) certificate {serial}, until ", output), output
    assert ledger(site) == in_use
    again = well(site.run())
    assert "ledger.jsonl did not hold" not in again
    assert "Put back" not in again, "no task for it where nothing is missing"
    without_client = site.inventory()
    without_client["postgres_clients"]["hosts"] = {}
    rotate = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
    output = stopped(site.run("-e", "postgres_ca_phase=stage", playbook=rotate, inventory=without_client))
    (client,) = [id_ for id_ in in_use if "/" in id_]
    assert f"phase: stage is not safe yet: {client} (client certificate {in_use[client]}, until " in output
    well(site.run())  # its rule comes back


def test_a_revocation_after_the_backup_is_not_forgotten_but_stops_the_run_with_the_entry_to_write(
    site: Any, backup: Backup
) -> None:
    """The revoked certificates were issued after the backup, too: nothing but the lists on hosts knows of them."""
    well(site.run(postgres_server_renew=True, postgres_client_renew=True))
    lost = ledger(site)
    revoked = [{"serial": serial} for serial in lost.values()]
    well(site.run(postgres_ca_revoked=revoked))
    assert not {*ledger(site).values()} & {*lost.values()}, "their holders have others"
    backup.restore()
    before = {path: traits for path, traits in site.files().items() if "postgres-ca" not in path}
    for options in (("--check",), ()):
        output = stopped(site.run(*options))
        for id_, serial in lost.items():
            authority = "client" if "/" in id_ else "server"
            assert f'postgres_ca_revoked: [{{serial: "{serial}", authority: {authority}}}]. Then rerun.' in output
        now = {path: traits for path, traits in site.files().items() if "postgres-ca" not in path}
        assert now == before
    assert "no certificate of it is in ledger.jsonl" in stopped(site.run(postgres_ca_revoked=revoked))
    once_more = [{"serial": serial, "authority": "client" if "/" in id_ else "server"} for id_, serial in lost.items()]
    well(site.run(postgres_ca_revoked=once_more))
    lists = [site.cluster.home / "tls/current/crl.pem", site.homes / site.os_users[0] / ".postgresql/root.crl"]
    shown = "".join(_text(block) for path in lists for block in path.read_text().split("-----BEGIN X509 CRL-----")[1:])
    for serial in lost.values():
        assert serial.upper().lstrip("0") in shown
    assert not re.findall(r"changed=[1-9]", well(site.run())), "and the entry can be taken out again"


def _text(block: str) -> str:
    pem = "-----BEGIN X509 CRL-----" + block
    command = ["openssl", "crl", "-noout", "-text"]
    return subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout


def test_a_ledger_that_is_gone_is_filled_with_what_hosts_show(site: Any) -> None:
    known = ledger(site)
    (site.authorities / "ledger.jsonl").unlink()
    well(site.run())
    assert ledger(site) == known
