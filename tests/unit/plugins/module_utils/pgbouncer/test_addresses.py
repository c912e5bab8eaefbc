# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a host has, seen in a network of its own. Containers of the tests cannot make one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import frontend

IS_ROOT = os.geteuid() == 0
LOOPBACK = "127.0.0.7"
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
    asked = [*FIRST, *SECOND, *ABSENT, "127.0.0.1", LOOPBACK, "::1"]
    text = f"from {frontend.__name__} import *\nprint([one for one in {asked!r} if is_of_this_host(one)])"
    done = enclosed(NETWORK + NONLOCAL * is_nonlocal, sys.executable, "-c", text)
    here = [one for one in asked if one not in ABSENT]
    assert done.stdout.strip() == str(here), done.stderr
