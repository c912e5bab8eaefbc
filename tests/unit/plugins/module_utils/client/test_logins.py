# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of OS users who log in by password."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import identities, plan, service_file, target
from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.shared import NOW
from ansible_collections.pgops.tls.tests.unit.plugins.module_utils.client import test_plan

APP = Identity("app", "alice", ("shop",))
CLERK = Identity("clerk", "alice", ("shop",), login="password")


def services(*identities: Identity) -> str:
    return service_file.render(identities, "/current").decode()


def test_the_service_of_a_password_names_no_certificate() -> None:
    assert services(CLERK, APP).startswith(
        f"{service_file.BEGIN.decode()}\n[clerk]\nuser=clerk\ndbname=shop\nsslmode=verify-full\n"
        "sslrootcert=/current/root.crt\n[app]\n"
    )


def test_it_names_one_that_does_not_exist_where_libpq_would_take_that_of_another_role() -> None:
    assert "sslcert=/current/clerk/postgresql.crt\nsslkey=/current/clerk/postgresql.key" in services(APP, CLERK)


@pytest.mark.parametrize("login", ["passwd", "", True, ["password"]])
def test_an_unknown_login_is_refused_with_what_is_allowed(login: Any) -> None:
    with pytest.raises(TlsError, match=r"^identities\[0\].login: found .*, expected certificate, password or both"):
        identities.parse([{"role": "app", "os_user": "alice", "login": login}])


def test_a_certificate_for_an_identity_with_a_password_is_refused() -> None:
    declared = [{"role": "clerk", "os_user": "alice", "login": "password"}]
    with pytest.raises(TlsError, match=r"not an identity .* of this host with a certificate"):
        target.read(test_plan.options(identities=declared, certificates={"alice/clerk": "x"}), NOW)


def made(found: HomeFiles, *declared: Identity) -> plan.Plan:
    """Return the plan for identities, of which those with a certificate have it."""
    return plan.make(declared, plan.Needs({}, []), found, test_plan.wanted(), test_plan.LAYOUT)


def test_an_identity_that_gets_a_password_loses_key_and_certificate() -> None:
    found = test_plan.installed("app", "reporting")
    changes = made(found, test_plan.APP, Identity("reporting", "alice", login="password")).changes
    assert changes == ["alice/reporting: logs in by password, its key and certificate are removed"]
    assert made(found, test_plan.APP).changes[0].startswith("alice/reporting: no longer declared")


def test_a_key_alone_is_removed_too() -> None:
    found = test_plan.installed("app")
    found = found._replace(contents={**found.contents, "clerk/postgresql.key": b"key"})
    assert "clerk: logs in by password" in made(found, test_plan.APP, CLERK).changes[0]
