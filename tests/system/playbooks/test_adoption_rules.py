# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose rules many hands have written, adopted in the steps of the guide, and taken out again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from typing import Any

from ansible_collections.pgops.tls.tests import adoption
from ansible_collections.pgops.tls.tests.adoption import Adopted, Client, adopt, client, make_roles, refused, start
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

# Up to 15 words come from files; from 16 on lines do, too, and names may be regular expressions
WRITTEN = r"""# pg_hba.conf of the shop.  Put together by many hands since 2012; ask Bob before you touch it!
# vim: set ts=8:
local   all             postgres                                peer
local   replication     postgres                                peer
local   all             all                                     md5

# --- monitoring, never in plaintext
hostssl postgres        report          127.0.0.1/32            scram-sha-256
hostnossl postgres      report          all                     reject

# --- the shop: plaintext inside the data centre (2014: to be moved to TLS, soon)
host    shop            app             127.0.0.0/24            scram-sha-256
host    shop            app             ::1/128                 scram-sha-256
host    "Old Shop"      app             samenet                 scram-sha-256   # of the merger
host    shop            app             10.0.0.0 255.0.0.0      scram-sha-256

# --- people, by group and by list
hostssl all             +staff          127.0.0.0/8             scram-sha-256
hostssl all             @readers        127.0.0.7/32            scram-sha-256
host    @archives       "Dr. Who","all" 127.0.0.1/32            md5
hostssl sameuser        all             samehost                scram-sha-256

host    all             +gone_group     .example.com            scram-sha-256
hostgssenc all          all             all                     reject
hostssl report,"report" "report"        ::1/128                 scram-sha-256

# --- by certificate
hostssl all             alice           all                     CERT
hostssl shop            batch           127.0.0.1/32            scram-sha-256 VERIFY
hostssl all             auditor         all                     cert map=audit
GOES_ON
# --- replication
hostssl replication     standby         127.0.0.1/32            scram-sha-256
hostssl replication     standby         samenet                 scram-sha-256
host    replication     all             ::1/128                 reject

# --- what was closed in the incident of 2019
host    all             mallory         all                     reject
host    all             app             127.0.0.66/32           reject
host    all             all             127.0.0.77  255.255.255.255  reject
"""
MAP_FILE = """# MAPNAME  SYSTEM-USERNAME  PG-USERNAME
people     "Alice Smith"        alice
people     /^(.*)@example\\.com$ \\1
audit      /^aud-(.*)$        \\1
"""


def written(cluster: Any, major: int) -> str:
    """Return rules as many hands write them, in the grammar of a version, and write the files that they name."""
    cluster.write("readers", 'report\n# gone since 2016\nlibrarian, "Dr. Who"\n')
    cluster.write("archives", "shop\n")
    text = WRITTEN.replace("CERT", "cert map=people" + (" clientname=CN" if major >= 14 else ""))
    text = text.replace("VERIFY", "clientcert=verify-full" if major >= 14 else "clientcert=verify-ca")
    going_on = "hostssl shop,postgres \\\n        librarian \\\n        127.0.0.1/32 \\\n        scram-sha-256\n"
    text = text.replace("GOES_ON\n", going_on if major >= 14 else going_on.replace("\\\n", ""))
    if major < 16:
        return text
    (cluster.data / "hba.d").mkdir()
    shutil.chown(cluster.data / "hba.d", cluster.account)
    cluster.write("hba.d/10-tmp.conf", "hostssl /^tmp_ report 127.0.0.1/32 scram-sha-256\n")
    cluster.write("hba.d/ignored.txt", "nonsense\n")
    cluster.write("late.conf", "hostssl postgres /^lib.*n$ 127.0.0.1/32 scram-sha-256\n")
    return text + "include late.conf\ninclude_if_exists nothing.conf\ninclude_dir hba.d\n"


@ONLY_THOROUGH
def test_rules_of_many_hands(
    site_on: Callable[[Any], Any], cluster: Any, server_authority: Any, client_authority: Any
) -> None:
    site = site_on(cluster)
    shop, other = site.os_users
    major = int(cluster.psql("SHOW server_version_num")) // 10000
    rules = written(cluster, major)
    assert rules.count("\n") > 40
    pair = server_authority.issue("db", "serverAuth", "DNS:localhost,IP:127.0.0.1")
    for name, path in zip(("db.crt", "db.key", "clients.crt"), (*pair, client_authority.root)):
        cluster.write(name, path.read_bytes())
    settings = "ssl = on\nssl_cert_file = 'db.crt'\nssl_key_file = 'db.key'\nssl_ca_file = 'clients.crt'\n"
    start(cluster, settings, rules, MAP_FILE)
    make_roles(cluster)
    encrypted = "SET password_encryption = 'scram-sha-256'; CREATE ROLE {} LOGIN PASSWORD 'old'"
    for role in ("alice", "batch", "auditor", "librarian", '"Dr. Who"', "mallory"):
        cluster.psql(encrypted.format(role))
    for database in ('"Old Shop"', "report", "tmp_1"):
        cluster.psql(f"CREATE DATABASE {database}")
    names = {"Alice Smith": "alice", "bob@example.com": "bob", "aud-auditor": "aud", "batch": "batch"}
    files = {
        folder: adoption.client_files(other, folder, client_authority.issue(name, "clientAuth"), None)
        for name, folder in names.items()
    }

    def at(name: str, role: str, **parameters: str) -> Client:
        usual = {"user": role, "password": "old", "sslmode": "require"}
        return client(cluster, name, shop if role == "app" else other, **{**usual, **parameters})

    with contextlib.ExitStack() as stack:
        elsewhere = {
            last: {"hostaddr": f"127.0.0.{last}", "port": str(stack.enter_context(forwarded(cluster, last)))}
            for last in (7, 66, 77)
        }
        clients = [
            at("app, plaintext", "app", sslmode="disable"),
            at("app", "app"),
            at("app, IPv6, plaintext", "app", sslmode="disable", host="::1", hostaddr="::1"),
            at("app, IPv6", "app", host="::1", hostaddr="::1"),
            at("app, a database in quotes", "app", dbname="Old Shop"),
            at("app, an address that is closed", "app", dbname="postgres", **elsewhere[66]),
            at("report, its database", "report", dbname="report"),
            at("report, plaintext", "report", dbname="postgres", sslmode="disable"),
            at("report by its group", "report", **elsewhere[7]),
            at("librarian by a list", "librarian", dbname="report", **elsewhere[7]),
            at("librarian from elsewhere", "librarian", dbname="report"),
            at("librarian by a line that continues", "librarian"),
            at("a name in quotes", "Dr. Who"),
            at("a name in quotes, plaintext", "Dr. Who", sslmode="disable"),
            at("an address that is closed", "report", **elsewhere[77]),
            at("mallory", "mallory"),
            at("alice by her map", "alice", **files["alice"], password=""),
            at("alice by no map", "alice", **files["bob"], password=""),
            at("alice with a password", "alice"),
            at("auditor", "auditor", **files["aud"], password=""),
            at("batch, both", "batch", **files["batch"]),
            at("batch without its certificate", "batch"),
            at("replication", "standby", replication="true"),
            at("replication, plaintext", "standby", replication="true", sslmode="disable"),
            at("replication, IPv6", "standby", replication="true", host="::1", hostaddr="::1"),
            at("a database by an expression", "report", dbname="tmp_1"),
        ]
        variables = {"postgres_server_extra_trusted_clients": client_authority.root.read_text()}
        # the rule of the inventory's default is for all addresses, and one is closed to that role
        rule = {"user": "app", "database": "shop", "address": "samehost", "method": "cert"}
        adopted = Adopted(site, clients, [], variables, {"postgres_server_hba": [rule]})
        assert refused(adopted) == [
            "alice by no map",
            "alice with a password",
            "app, an address that is closed",
            "batch without its certificate",
            "librarian from elsewhere",
            "mallory",
            "replication, plaintext",
            "report, plaintext",
        ]
        adopt(adopted)
        adopted.remove()


def forwarded(cluster: Any, last: int) -> contextlib.AbstractContextManager[int]:
    """Give a port of 127.0.0.LAST from which connections come to the cluster with this address."""
    return adoption.from_address(f"127.0.0.{last}", cluster.port)
