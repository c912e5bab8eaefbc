# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PgBouncer that listens at an address which moves between hosts, and which another PgBouncer has now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
FIRST, SECOND, ABSENT = ("10.7.7.5", "fd07::5"), ("10.7.7.6", "fd07::6"), ("10.7.7.7", "fd07::7", "192.0.2.7")
NETWORK = [
    "ip link set lo up",
    "ip link add here type veth peer name there && ip link set here up && ip link set there up",
    *(f"ip addr add {one}/{64 if ':' in one else 24} dev here nodad" for one in (*FIRST, *SECOND)),
    "ip route add default via 10.7.7.1 dev here",
]
NONLOCAL = [f"echo 1 > /proc/sys/net/{one}/ip_nonlocal_bind" for one in ("ipv4", "ipv6")]


def enclosed(commands: list[str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a network of its own, after others that set the network up."""
    script = "; ".join(["set -e", *commands, 'exec "$@"'])
    whole = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script, "sh", *command]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(whole, env=found, capture_output=True, text=True, check=False)


def can_be_enclosed() -> bool:
    return IS_ROOT and bool(shutil.which("ip")) and enclosed([*NETWORK, *NONLOCAL], "true").returncode == 0


@pytest.mark.skipif(not can_be_enclosed(), reason="no network of its own can be made here")
@pytest.mark.parametrize("is_nonlocal", [False, True], ids=["", "ip_nonlocal_bind"])
def test_an_address_is_of_this_host_only_while_it_is_here(is_nonlocal: bool) -> None:
    asked = [*FIRST, *SECOND, *ABSENT, "127.0.0.1", SHARED, "::1"]
    text = f"from {frontend.__name__} import *\nprint([one for one in {asked!r} if is_of_this_host(one)])"
    done = enclosed(NETWORK + NONLOCAL * is_nonlocal, sys.executable, "-c", text)
    here = [one for one in asked if one not in ABSENT]
    assert done.stdout.strip() == str(here), done.stderr


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
