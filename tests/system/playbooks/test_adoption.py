# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are in use, adopted in the steps of the guide: whoever could connect before can, and nobody else.

Clients connect all the time while playbooks run. What was written by hand stays byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.tests import adoption
from ansible_collections.pgops.tls.tests.adoption import (
    WITHOUT_RULES,
    Adopted,
    Client,
    adopt,
    client,
    make_roles,
    refused,
    start,
)
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

# What Debian's pg_createcluster leaves in pg_hba.conf
DEBIAN = """\
# PostgreSQL Client Authentication Configuration File
# ===================================================
#
# Database administrative login by Unix domain socket
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
# Allow replication connections from localhost, by a user with the
# replication privilege.
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
"""


@ONLY_THOROUGH
def test_a_debian_cluster_with_passwords(site_on: Callable[[Any], Any], cluster: Any, server_authority: Any) -> None:
    site = site_on(cluster)
    shop, other = site.os_users
    certificate, key = server_authority.issue("snakeoil", "serverAuth", "DNS:localhost,IP:127.0.0.1")
    cluster.write("snakeoil.pem", certificate.read_bytes())
    cluster.write("snakeoil.key", key.read_bytes())
    settings = "ssl = on\nssl_cert_file = 'snakeoil.pem'\nssl_key_file = 'snakeoil.key'\n"
    start(cluster, settings, DEBIAN)
    make_roles(cluster)
    root = str(adoption.give(other, "ca.crt", server_authority.root.read_bytes()))

    def at(name: str, os_user: str = other, **parameters: str) -> Client:
        return client(cluster, name, os_user, **parameters)

    clients = [
        at("app, TLS if there is", shop, user="app", password="old", sslmode="prefer"),
        at("app, TLS", shop, user="app", password="old", sslmode="require"),
        at("report, wrong password", user="report", password="new", sslmode="require"),
        at("report, plaintext", user="report", password="old", sslmode="disable"),
        at("report, TLS", user="report", password="old", sslmode="require"),
        at("report, other database", user="report", password="old", sslmode="require", dbname="postgres"),
        at("report, verifies", user="report", password="old", sslmode="verify-full", sslrootcert=root),
        at("report, IPv6", user="report", password="old", sslmode="require", host="::1", hostaddr="::1"),
        at("report, foreign root", user="report", password="old", sslmode="verify-ca", sslrootcert=str(certificate)),
        at("nobody", user="gone", password="old", sslmode="require"),
        at("replication", user="standby", password="old", sslmode="require", replication="true"),
        at("replication, plaintext", user="standby", password="old", sslmode="disable", replication="true"),
        at("report replicates", user="report", password="old", sslmode="require", replication="true"),
        at("over the socket", cluster.account, user="postgres", host=cluster.socket_directory, hostaddr=""),
    ]
    adopted = Adopted(site, clients, [Path(root)])
    assert refused(adopted) == ["nobody", "report replicates", "report, foreign root", "report, wrong password"]
    adopt(adopted)
    adopted.remove()


CERTIFICATE_RULES = """\
local    all          postgres                   peer
# programs log in with certificates of the old authority
hostssl  all          app       all              cert
hostssl  shop         batch     all              cert
hostssl  all          alice     all              cert map=people
hostssl  all          report    samehost         scram-sha-256 clientcert=verify-ca
hostssl  replication  standby   127.0.0.1/32     cert
host     all          report    ::1/128          scram-sha-256
"""
BY_ALTER_SYSTEM = {"ssl": "on", "ssl_cert_file": "ours.crt", "ssl_key_file": "ours.key", "ssl_ca_file": "clients.crt"}


@ONLY_THOROUGH
def test_tls_by_alter_system_with_authorities_of_its_own(
    site_on: Callable[[Any], Any], cluster: Any, server_authority: Any, client_authority: Any
) -> None:
    site = site_on(cluster)
    shop, other = site.os_users
    pair = server_authority.issue("ours", "serverAuth", "DNS:localhost,IP:127.0.0.1,IP:::1")
    for name, path in zip(("ours.crt", "ours.key", "clients.crt"), (*pair, client_authority.root)):
        cluster.write(name, path.read_bytes())
    start(cluster, "", CERTIFICATE_RULES, "people  alice.smith  alice\n")
    for name, value in BY_ALTER_SYSTEM.items():
        cluster.psql(f"ALTER SYSTEM SET {name} = '{value}'")
    cluster.reload()
    make_roles(cluster)
    cluster.psql("CREATE ROLE batch LOGIN; CREATE ROLE alice LOGIN")
    adoption.client_files(shop, ".postgresql", client_authority.issue("app", "clientAuth"), server_authority.root)
    files = {
        name: adoption.client_files(other, name, client_authority.issue(name, "clientAuth"), server_authority.root)
        for name in ("batch", "alice.smith", "standby", "report")
    }
    files["foreign"] = adoption.client_files(other, "foreign", server_authority.issue("app", "clientAuth"), None)

    def at(name: str, role: str, cert: str = "", os_user: str = other, **parameters: str) -> Client:
        usual = {"user": role, "sslmode": "verify-full", "sslrootcert": files["batch"]["sslrootcert"]}
        return client(cluster, name, os_user, **{**usual, **files.get(cert, {}), **parameters})

    clients = [
        at("app", "app", os_user=shop, sslrootcert=""),
        at("app, other database", "app", os_user=shop, sslrootcert="", dbname="postgres"),
        at("app, IPv6", "app", os_user=shop, sslrootcert="", host="::1", hostaddr="::1"),
        at("app without a certificate", "app"),
        at("app, foreign authority", "app", "foreign"),
        at("batch", "batch", "batch"),
        at("batch, IPv6", "batch", "batch", host="::1", hostaddr="::1"),
        at("batch, other database", "batch", "batch", dbname="postgres"),
        at("alice by her map", "alice", "alice.smith"),
        at("alice with another's", "alice", "batch"),
        at("report, password and certificate", "report", "report", password="old"),
        at("report, a certificate alone", "report", "report"),
        at("report, a password alone", "report", password="old"),
        at("report, plaintext", "report", password="old", sslmode="disable", host="::1", hostaddr="::1"),
        at("replication", "standby", "standby", replication="true"),
        at("batch replicates", "batch", "batch", replication="true"),
    ]
    roots = [Path(files[name]["sslrootcert"]) for name in ("batch", "alice.smith", "standby", "report")]
    roots.append(site.homes / shop / ".postgresql" / "root.crt")
    variables = {
        "postgres_server_extra_trusted_clients": client_authority.root.read_text(),
        "postgres_server_extra_names": ["::1"],
    }
    adopted = Adopted(site, clients, roots, variables)
    assert len(refused(adopted)) == 7, adopted.before
    without_alter_system(adopted)
    adopt(adopted)
    adopted.remove()


def without_alter_system(adopted: Adopted) -> None:
    """Do what the run says that stops at settings by ALTER SYSTEM; no client notices."""
    cluster = adopted.site.cluster
    adopted.site.run("--tags", "always")
    done = adopted.site.run("--limit", "postgres_servers", "--check", **adopted.variables, **WITHOUT_RULES)
    found = re.search(rf"append what is set now to {cluster.data}/postgresql.conf, each on .*?: (.*?)\"", done.stdout)
    assert found, done.stdout
    assert found[1].split("; ") == [f"{name} = '{value}'" for name, value in BY_ALTER_SYSTEM.items()]
    with adoption.connecting([one for one in adopted.clients if not adopted.before[one.name]]) as said:
        cluster.append("postgresql.conf", found[1].replace("; ", "\n") + "\n")
        cluster.reload()
        for name in BY_ALTER_SYSTEM:
            cluster.psql(f"ALTER SYSTEM RESET {name}")
            cluster.reload()
    assert set(said) == {""}, said
    adopted.written["postgresql.conf"] = (cluster.data / "postgresql.conf").read_text()
    adopted.check()
