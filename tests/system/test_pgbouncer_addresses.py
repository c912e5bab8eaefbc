# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PgBouncer that listens at an address which moves between hosts, and which another PgBouncer has now."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import frontend
from ansible_collections.pgops.tls.plugins.module_utils.pooler import proof
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.tests import poolers
from ansible_collections.pgops.tls.tests.poolers import Pooler
from ansible_collections.pgops.tls.tests.servers import Server

IS_ROOT = os.geteuid() == 0
SHARED = "127.0.0.7"  # stands for the address that moves


@pytest.fixture(scope="module")
def database(shared_cluster: Any) -> Any:
    """Give a server that trusts the pooler's certificate for role app."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    Server(shared_cluster, shared_cluster.home / "tls").settle(hba=poolers.HBA, ident=poolers.IDENT)
    return shared_cluster


@pytest.fixture
def both(database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pooler, Pooler]]:
    """Give the PgBouncer of this host, and that of another one, which has the address that both listen at."""
    real = frontend.is_of_this_host
    for module in (frontend, proof):
        monkeypatch.setattr(module, "is_of_this_host", lambda address: address != SHARED and real(address))
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    with poolers.running(database) as passive, poolers.running(database) as active:
        active.port = passive.port
        for one, addresses in ((active, SHARED), (passive, f"{SHARED},127.0.0.1")):
            one.stop()
            one.write_ini(before=f"listen_addr = {addresses}\nlisten_port = {passive.port}")
            one.start()
        yield passive, active


pooled = pytest.mark.skipif(not IS_ROOT or not shutil.which("pgbouncer"), reason="there is no PgBouncer here")


@pooled
def test_what_the_other_host_shows_says_nothing_of_this_one(both: tuple[Pooler, Pooler]) -> None:
    passive, active = both
    assert "cannot listen on" in passive.log()
    names = [*poolers.LOOPBACK, SHARED]
    for _run in range(2):
        passive.settle(names=names, renew=True)
        assert passive.served() == passive.converge(names=names).after["front"].sha256
    assert passive.converge(names=names).changes == []
    with pytest.raises(TlsError) as failure:
        wire.observe(wire.Endpoint(SHARED, active.port))
    assert failure.value.code == "tls_not_offered", "it is the other one that answers there"


@pooled
def test_without_an_address_of_this_host_nothing_is_changed(both: tuple[Pooler, Pooler]) -> None:
    _passive, active = both
    disk = active.disk()
    with pytest.raises(TlsError, match="it answers at none of its TCP addresses on this host") as failure:
        active.converge()
    assert failure.value.code == "pooler_not_listening"
    assert active.disk() == disk
