# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency: a root is dropped at once, after what breaks was shown and the root was named."""

from __future__ import annotations

import datetime
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.endings import well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

DROP = [{"ansible.builtin.import_playbook": "pgops.tls.drop_ca"}]
ROTATE = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
DROPPED = ("client", "server")
pytestmark = ONLY_THOROUGH


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that was set up, and of which a client host was then forgotten."""
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN")
    made = site_on(shared_cluster)
    inventory = made.inventory()
    forgotten = {"postgres_client_identities": [{"role": "other", "os_user": made.os_users[1]}]}
    inventory["postgres_clients"]["hosts"]["app2"] = forgotten
    well(made.run(inventory=inventory))
    well(run(made))
    return made


def run(site: Any, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a playbook for a fleet that has another service, too, with a certificate below the servers' root."""
    inventory = site.inventory()
    service = {"name": "web", "os_user": site.os_users[1], "names": ["localhost"]}
    inventory["postgres_clients"]["hosts"]["web1"] = {"postgres_client_identities": [service]}
    done: subprocess.CompletedProcess[str] = site.run(*options, inventory=inventory, **more)
    return done


def drop(site: Any, authority: str, confirmed: str = "") -> subprocess.CompletedProcess[str]:
    confirmation = {"postgres_ca_drop_confirmed": confirmed} if confirmed else {}
    return run(site, playbook=DROP, postgres_ca_drop=authority, **confirmation)


def root(site: Any, authority: str) -> str:
    """Return the common name of the root in use."""
    (path,) = (site.authorities / authority).glob("[0-9]*/root.crt")
    return str(certificate.read_pem(path.read_text(), str(path))[0].common_name)


def trusted(site: Any, authority: str) -> list[str | None]:
    """Return the common names of the roots that hosts trust."""
    client, server = site.homes / site.os_users[0] / ".postgresql" / "root.crt", site.cluster.home / "tls" / "current"
    path = client if authority == "server" else server / "trusted-clients.crt"
    return roots_in(path)


def roots_in(path: Path) -> list[str | None]:
    return [one.common_name for one in certificate.read_pem(path.read_text(), str(path)) if one.is_self_issued]


def leaf(site: Any, number: int, name: str) -> certificate.Certificate:
    """Return the certificate of an identity of one of the OS users."""
    path = site.homes / site.os_users[number] / ".postgresql/pgops/current" / name / "postgresql.crt"
    return certificate.read_pem(path.read_text(), str(path))[0]


@pytest.mark.parametrize("confirmed", ["", "another root"])
@pytest.mark.parametrize("authority", DROPPED)
def test_unconfirmed_it_shows_what_breaks_and_changes_nothing(site: Any, authority: str, confirmed: str) -> None:
    before = site.files()
    done = drop(site, authority, confirmed)
    assert done.returncode == 2, done.stdout
    output = done.stdout.replace("\\n", "\n")
    assert f"-e postgres_ca_drop_confirmed={root(site, authority).split()[-1]}" in output
    if authority == "client":
        assert re.search(rf"app2/{site.os_users[1]}/other, until 20\S+: not in the inventory, so shut out", output)
        assert re.search(rf"app1/{site.os_users[0]}/app, until 20\S+: shut out until a run has reached it", output)
    else:
        assert re.search(r"db1, until 20\S+: shut out until a run has reached it", output)
        assert re.search(rf"web1/{site.os_users[1]}/web, until 20\S+: shut out until a run has reached it", output)
    assert site.files() == before


def test_which_one_has_to_be_said(site: Any) -> None:
    before = site.files()
    done = run(site, playbook=DROP)
    assert done.returncode == 2
    assert "Say which one: -e postgres_ca_drop=server, client or another authority." in done.stdout
    assert site.files() == before


def test_during_a_rollover_each_root_is_told_and_the_old_one_can_be_dropped_alone(site: Any) -> None:
    old, app2 = root(site, "client"), f"app2/{site.os_users[1]}/other"
    until = f"{datetime.date.today() + datetime.timedelta(days=30)}"
    outside = [{"authority": "client", "id": app2, "until": until, "by": "nobody"}]
    for phase in ("stage", "switch"):
        options = {"postgres_ca_phase": phase, "postgres_ca_rotate": "client", "postgres_ca_outside_holders": outside}
        well(run(site, playbook=ROTATE, **options))
    (new,) = set(trusted(site, "client")) - {old}
    told = drop(site, "client").stdout.replace("\\n", "\n")
    lost = rf"{app2}, until 20\S+: not in the inventory, so shut out permanently\n"
    ours = rf"app1/{site.os_users[0]}/app, until 20\S+: shut out until a run has reached it\n"
    own = rf"To do it: -e postgres_ca_drop_confirmed={str(new).split()[-1]}\n"
    alone = rf"{old} of 20\S+ alone:\n{lost}To do it: -e postgres_ca_drop_confirmed={old.split()[-1]}"
    assert re.search(lost + ours + own + alone, told), told
    output = well(drop(site, "client", old.split()[-1]))
    assert "make a new client CA" not in output
    assert re.search(r"(\d\d) connections from 2 client hosts: \1 as expected", output), output
    assert trusted(site, "client") == [new]
    well(run(site, "-e", "postgres_ca_phase=finish", playbook=ROTATE))


@pytest.mark.parametrize("authority", DROPPED)
def test_confirmed_nobody_trusts_the_root_any_more_and_everybody_connects(site: Any, authority: str) -> None:
    old, other = root(site, authority), DROPPED[1 - DROPPED.index(authority)]
    kept, certificates = trusted(site, other), (leaf(site, 0, "app"), leaf(site, 1, "web"))
    output = well(drop(site, authority, old.split()[-1]))
    assert re.search(r"(\d\d) connections from 2 client hosts: \1 as expected", output), output
    new = root(site, authority)
    assert new != old
    assert trusted(site, authority) == [new]
    assert trusted(site, other) == kept
    # A service has a certificate below the servers' root. It is new, and its host knows the new root.
    assert roots_in(site.homes / site.os_users[1] / ".postgresql/pgops/current/root.crt") == trusted(site, "server")
    assert leaf(site, 1, "web") != certificates[1] or authority == "client"
    assert (leaf(site, 0, "app") == certificates[0]) == (authority == "server"), "it is not below the dropped root"
    before = site.files()
    nightly = well(run(site))
    assert set(re.findall(r"changed=(\d+)", nightly)) == {"0"}
    assert site.files() == before


def test_the_same_again_drops_nothing_more(site: Any) -> None:
    (site.authorities / "client" / "retiring").stat()
    (path,) = (site.authorities / "client" / "retiring").glob("*/root.crt")
    old, new = certificate.read_pem(path.read_text(), str(path))[0].common_name, root(site, "client")
    well(drop(site, "client", str(old)))
    assert root(site, "client") == new


def test_the_last_phase_of_a_rollover_ends_it(site: Any) -> None:
    options = ("-e", "postgres_ca_phase=finish")
    well(run(site, *options, playbook=ROTATE))
    assert not list(site.authorities.glob("*/retir*/*/*.key"))
    assert len(list(site.authorities.glob("*/retired/0001/root.crt"))) == len(DROPPED)
