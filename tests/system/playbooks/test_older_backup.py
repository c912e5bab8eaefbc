# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authorities come from an older backup: what hosts show is held against it, and no revocation is forgotten."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.tests.endings import as_line, refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making OS users takes root"),
    ONLY_THOROUGH,
]


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that was set up: a server, and a client host with one identity."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    well(made.run())
    return made


def ledger(site: Any) -> dict[str, str]:
    """Return the newest serial number of each id."""
    lines = map(json.loads, (site.authorities / "ledger.jsonl").read_text().splitlines())
    return {line["id"]: line["serial"] for line in lines}


def restore(site: Any, backup: Path) -> None:
    shutil.rmtree(site.authorities)
    shutil.copytree(backup, site.authorities)


@pytest.fixture(scope="module")
def backup(site: Any) -> Path:
    """Copy the authorities, then give the server and the client other certificates."""
    path: Path = site.directory / "backup"
    shutil.copytree(site.authorities, path)
    old = ledger(site)
    well(site.run(postgres_server_renew=True, postgres_client_renew=True))
    assert not {*ledger(site).values()} & {*old.values()}
    return path


def test_certificates_in_use_go_back_into_the_ledger_and_a_rollover_counts_their_holders(
    site: Any, backup: Path
) -> None:
    in_use = ledger(site)
    restore(site, backup)
    done = site.run()
    well(done)
    output = as_line(done)
    assert "ledger.jsonl did not hold certificates that are in use: " in output
    assert "put back into the ledger: " in output
    for id_, serial in in_use.items():
        assert re.search(rf"{re.escape(id_)} \((server|client) certificate {serial}, until ", output), output
    assert ledger(site) == in_use
    without_client = site.inventory()
    without_client["postgres_clients"]["hosts"] = {}
    rotate = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
    output = as_line(site.run("-e", "postgres_ca_phase=stage", "--check", playbook=rotate, inventory=without_client))
    assert "put back into the ledger: " not in output, "nothing is missing any more"
    (client,) = [id_ for id_ in in_use if "/" in id_]
    told = f"certificates that this run has not seen: {client} (client certificate {in_use[client]} of "
    assert told in output


def revoked(site: Any) -> set[str]:
    """Return the serial numbers in the lists of the server and of the client."""
    lists = [site.cluster.home / "tls/current/crl.pem", site.homes / site.os_users[0] / ".postgresql/root.crl"]
    found = (one for path in lists for one in revocations.read_pem(path.read_text(), ""))
    return {f"{serial:x}" for one in found for serial in one.serials()}


def test_a_revocation_after_the_backup_is_not_forgotten_but_stops_the_run_with_the_entries_to_write(
    site: Any, backup: Path
) -> None:
    """The revoked certificates were issued after the backup, too: nothing but the lists on hosts knows of them."""
    lost = ledger(site)
    well(site.run(postgres_ca_revoked=[{"serial": serial} for serial in lost.values()]))
    in_use, shut_out = ledger(site), revoked(site)
    assert not {*in_use.values()} & {*lost.values()}, "their holders have others"
    assert len(shut_out) == 3, "with the client's certificate of before, which has the same key"
    assert shut_out > {*lost.values()}
    restore(site, backup)
    before = site.files()
    output = refused(site.run("--check"))
    assert output.count("Then rerun. Nothing was changed on this host.") >= 2, "the server and the client"
    told = re.findall(r"postgres_ca_revoked: (\[\{[^]]*\}\])\. If", output)
    entries = {entry["serial"]: entry for text in told for entry in yaml.safe_load(text)}
    assert {*entries} == shut_out
    of_server = {serial for serial, entry in entries.items() if entry["authority"] == "server"}
    assert of_server == {serial for id_, serial in lost.items() if "/" not in id_}
    assert site.files() == before
    well(site.run(postgres_ca_revoked=[*entries.values()]))
    assert revoked(site) == shut_out
    assert ledger(site) == in_use, "and what the revoked ones were replaced by is back, too"
