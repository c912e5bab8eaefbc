# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of libpq's variables, as shells and systemd read it."""

from __future__ import annotations

import subprocess

from ansible_collections.pgops.tls.plugins.module_utils.client import parameters
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Endpoint, Identity

CURRENT = "/home/alice/.postgresql/pgops/current"


def read_by_a_shell(content: bytes) -> dict[str, str]:
    """Return the variables that a shell finds."""
    script = 'set -a; eval "$(cat)"; env -0'
    done = subprocess.run(["sh", "-c", script], input=content, env={"PATH": "/usr/bin:/bin"}, capture_output=True,
                          check=True)  # fmt: skip
    pairs = (one.split("=", 1) for one in done.stdout.decode("utf-8", "surrogateescape").split("\0") if one)
    return {name: value for name, value in pairs if name.startswith("PG")}


def test_one_server_is_in_it_and_several_are_not() -> None:
    shop, audit = Endpoint("shop1", "shop1.example.com", 5432), Endpoint("audit1", "192.0.2.7", 15432)
    one = Identity("app", "alice", ("shop", "stats"), endpoints=(shop,))
    files = (
        f"PGSSLMODE=verify-full\nPGSSLROOTCERT={CURRENT}/root.crt\n"
        f"PGSSLCERT={CURRENT}/app/postgresql.crt\nPGSSLKEY={CURRENT}/app/postgresql.key\n"
    )
    found = parameters.environment(one, CURRENT, has_lists=False)
    assert found.decode() == f"PGUSER=app\nPGDATABASE=shop\nPGHOST=shop1.example.com\nPGPORT=5432\n{files}"
    both = one._replace(endpoints=(shop, audit), databases=())
    assert parameters.environment(both, CURRENT, has_lists=False).decode() == f"PGUSER=app\n{files}"
    assert f"PGSSLCRL={CURRENT}/root.crl\n" in parameters.environment(both, CURRENT, has_lists=True).decode()


def test_odd_letters_come_through() -> None:
    for role in ("a b", 'a"b', "a$HOME", "a`id`b", "a\\", "a\\$b", "it's", "#a", "é", "a;b", "*", "~"):
        one = Identity(role, "alice", own_name="x")
        content = parameters.environment(one, "/home/al ice", has_lists=False)
        assert read_by_a_shell(content) == {
            "PGUSER": role, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/home/al ice/root.crt",
            "PGSSLCERT": "/home/al ice/x/postgresql.crt", "PGSSLKEY": "/home/al ice/x/postgresql.key",
        }  # fmt: skip
