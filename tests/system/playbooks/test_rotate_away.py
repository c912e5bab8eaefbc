# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roots are replaced while a server and a client host are away, also out of the inventory: nobody is shut out."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import loops
from ansible_collections.pgops.tls.tests.endings import as_line, refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, SILENT

ROTATE = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
TARGET = "user=app dbname=postgres sslmode=verify-full"
DATES = r"Its last certificate is of 20\S+Z and ends at 20\S+Z\."


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, billing: Any) -> Any:
    """Give two servers a role app."""
    for cluster in (shared_cluster, billing):
        cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


def fleet(site: Any, billing: Any, **away: str) -> dict[str, Any]:
    """Return an inventory of two servers and two client hosts. Those that are ``away`` are silent, or out of it.

    The first host of all is one of them.
    """
    found: dict[str, Any] = site.inventory()
    servers = found["postgres_servers"]
    servers["hosts"] = {"db2": site.server_on(billing), **servers["hosts"]}
    found["postgres_clients"]["hosts"]["app2"] = {
        "postgres_client_identities": [{"role": "app", "os_user": site.os_users[1]}]
    }
    for hosts in (found["postgres_servers"]["hosts"], found["postgres_clients"]["hosts"]):
        for host in [one for one in away if one in hosts]:
            hosts[host] |= SILENT
            if away[host] == "out":
                del hosts[host]
    return found


def rotate(site: Any, inventory: dict[str, Any], *phase: str) -> subprocess.CompletedProcess[str]:
    """Go through one phase, or all that are left; nobody outside trusts the roots."""
    options = [option for one in phase for option in ("-e", f"postgres_ca_phase={one}")]
    inventory["all"]["vars"]["postgres_ca_outside_trust"] = "none"
    done: subprocess.CompletedProcess[str] = site.run(*options, playbook=ROTATE, inventory=inventory)
    return done


def trusted(site: Any, billing: Any) -> dict[str, int]:
    """Return how many certificates of authorities each host trusts: of a server also issuing ones."""
    paths = {
        "db1": next(site.cluster.home.rglob("current/trusted-clients.crt")),
        "db2": next(billing.home.rglob("current/trusted-clients.crt")),
        **{f"app{number}": site.homes / name / ".postgresql/root.crt" for number, name in enumerate(site.os_users, 1)},
    }
    return {host: Path(path).read_text().count("BEGIN CERTIFICATE") for host, path in paths.items()}


def connects(site: Any, billing: Any) -> Counter[str]:
    """Connect from both client hosts to both servers, and count how that ended; '' is well."""
    targets = [f"host=localhost port={cluster.port} {TARGET}" for cluster in (site.cluster, billing)]
    done = [site.connect(number, target) for number in range(2) for target in targets]
    return Counter(one.stderr for one in done)


@ONLY_THOROUGH
def test_a_root_is_staged_without_who_is_away_and_nothing_goes_on_until_it_is_back(site: Any, billing: Any) -> None:
    well(site.run(inventory=fleet(site, billing)))
    one_root = {"db1": 2, "db2": 2, "app1": 1, "app2": 1}
    assert trusted(site, billing) == one_root

    # The new root is staged, all others trust it, and the next phase waits for who is away.
    output = refused(rotate(site, fleet(site, billing, db2="silent", app2="silent")))
    assert "phase: stage continues without certificates that this run has not seen: app2/" in output
    assert trusted(site, billing) == {**one_root, "db1": 4, "app1": 2}
    assert connects(site, billing) == Counter({"": 4})
    assert "Phase switch does not begin, because not everything is proven. db2 failed in this run (server)" in output
    for host in ("db2", "app2"):
        assert re.search(
            rf"Phase switch .*new root of 20.*\b{host}: it could not be reached in this run\. {DATES}", output
        )

    # It waits for them also when they are taken out of the inventory: so says the ordinary run before it, and itself.
    before = site.files()
    output = refused(rotate(site, fleet(site, billing, db2="out", app2="out")))
    for host in ("db2", "app2"):
        assert re.search(rf"Phase switch .*new root of 20.*\b{host}: it is not in the inventory\. {DATES}", output)
    assert re.search(r"phase: switch is not safe yet: app2/\S+ \(client certificate .*, db2 \(server", output)
    assert site.files() == before

    # Back in the inventory, an ordinary run brings them along, and no connection fails meanwhile.
    def connecting(goes_on: loops.GoesOn) -> Counter[str]:
        found: Counter[str] = Counter()
        while goes_on():
            found += connects(site, billing)
            time.sleep(0.1)  # the run is to have time, too
        return found

    with loops.beside(connecting) as counted:
        output = well(site.run(inventory=fleet(site, billing)))
    assert set(counted[0]) == {""}, counted
    assert "waits for these hosts" not in output
    assert trusted(site, billing) == {"db1": 4, "db2": 4, "app1": 2, "app2": 2}


@ONLY_THOROUGH
def test_a_host_that_goes_away_later_holds_up_each_phase_until_somebody_says_that_it_is_gone(
    site: Any, billing: Any
) -> None:
    """The test before has staged the new roots, and all hosts trust them."""
    complete, without = fleet(site, billing), fleet(site, billing, app2="out")
    well(rotate(site, complete, "switch"))
    issued = site.homes / site.os_users[1] / ".postgresql/postgresql.crt"
    for inventory, told in (
        (fleet(site, billing, app2="silent"), "app2: it could not be reached in this run. Its last"),
        (without, "phase: retire is not safe yet: app2/"),
    ):
        before = issued.read_bytes(), trusted(site, billing)
        assert told in refused(rotate(site, inventory, "retire"))
        assert (issued.read_bytes(), trusted(site, billing)) == before
        assert connects(site, billing) == Counter({"": 4})
    for playbook in ("pgops.tls.site", "pgops.tls.report"):
        output = as_line(site.run(inventory=without, playbook=playbook))
        assert re.search(
            rf"Phase retire .* waits for these hosts:.*\bapp2: it is not in the inventory\. {DATES}", output
        )

    gone = fleet(site, billing, app2="out")
    gone["all"]["vars"]["postgres_ca_revoked"] = [{"host": "app2", "reason": "cessationOfOperation"}]
    output = well(rotate(site, gone, "retire"))
    assert "waits for these hosts" not in output
    assert trusted(site, billing) == {"db1": 2, "db2": 2, "app1": 1, "app2": 2}
    well(rotate(site, gone, "finish"))

    # And if it comes back although it was gone, an ordinary run brings it along.
    well(site.run(inventory=complete))
    assert connects(site, billing) == Counter({"": 4})
    assert trusted(site, billing) == {"db1": 2, "db2": 2, "app1": 1, "app2": 1}
