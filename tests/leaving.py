# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What provokes the messages of adoption and removal that the troubleshooting page quotes, on the fleet of its test."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, service_file
from ansible_collections.pgops.tls.plugins.module_utils.client import removal as client_removal
from ansible_collections.pgops.tls.plugins.module_utils.client import target as client_target
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.server import removal
from ansible_collections.pgops.tls.plugins.plugin_utils import dependents, first_set_up
from ansible_collections.pgops.tls.tests import clients, loops, servers
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA
from ansible_collections.pgops.tls.tests.troubleshooting import Provocations
from cryptography.hazmat.primitives import serialization

PROVOKED_BY_LEAVING = Provocations()


def _remove(fleet: Any, **options: Any) -> None:
    fleet.hear(lambda: fleet.server.converge(kind=removal.Removal, **options))


def _own_tls(fleet: Any) -> None:
    """Give the server files of its own, which trust another authority, as they were there before the collection."""
    for name in ("server.crt", "server.key"):
        fleet.cluster.write(name, (fleet.server.directory / "current" / name).read_bytes())
    fleet.cluster.write("clients.crt", clients.OTHER.root.pem)
    text = (fleet.cluster.data / "postgresql.conf").read_text(encoding="utf-8")
    fleet.cluster.write("postgresql.conf", "ssl = on\nssl_ca_file = 'clients.crt'\n" + text)


@PROVOKED_BY_LEAVING.of("The certificate that the server shows is for ..., but its new one is not")
def _its_new_one_is_not(fleet: Any) -> None:
    _own_tls(fleet)
    fleet.server.converge(kind=removal.Removal, remove_directory=True)
    fleet.heed(fleet.server.converge(names=["localhost"], check_mode=True).warnings)


@PROVOKED_BY_LEAVING.of("but its new one is not: clients that verify the server")
def _and_its_new_one_is_not(fleet: Any) -> None:
    fleet.server.converge(kind=removal.Removal, remove_directory=True)
    key, root = fleet.folder / "company.key", fleet.folder / "company.crt"
    options = ["-newkey", "ed25519", "-nodes", "-subj", "/CN=Company CA", "-keyout", key, "-out", root]
    subprocess.run(["openssl", "req", "-x509", *options], check=True, capture_output=True)
    fleet.cluster.serve(root, key, root)
    fleet.heed(fleet.server.converge(check_mode=True).warnings)


@PROVOKED_BY_LEAVING.of("has a passphrase, which the server cannot get at a reload")
def _has_a_passphrase(fleet: Any) -> None:
    _own_tls(fleet)
    key = (fleet.cluster.data / "server.key").read_bytes()
    text = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"sesame")
    )
    fleet.cluster.write("server.key", text)
    _remove(fleet)
    shutil.rmtree(fleet.server.directory)  # as if it was never set up
    fleet.heed(fleet.server.converge(check_mode=True).warnings)


@PROVOKED_BY_LEAVING.of("rewrites the files of this server")
def _makes_the_files_anew(fleet: Any) -> None:
    text = (fleet.cluster.data / "postgresql.conf").read_text(encoding="utf-8")
    fleet.cluster.write("postgresql.conf", f"# It will be overwritten by Patroni!\n{text}")
    fleet.hear(fleet.server.converge)


@PROVOKED_BY_LEAVING.of("rewrites this file, what this collection added to it is missing")
def _makes_this_file_anew(fleet: Any) -> None:
    text = (fleet.cluster.data / "pg_hba.conf").read_text(encoding="utf-8")
    fleet.cluster.write("pg_hba.conf", f"# Ansible managed\n{text}")
    fleet.heed(fleet.server.converge(check_mode=True).warnings)


@PROVOKED_BY_LEAVING.of("expected only what is public, found a private key")
def _found_a_private_key(fleet: Any) -> None:
    text = AUTHORITIES["client"].root.pem + clients.new_key().decode()
    fleet.hear(lambda: fleet.server.converge(extra_trusted_clients=text))


@PROVOKED_BY_LEAVING.of("a leaf. Remove it")
def _a_leaf_remove_it(fleet: Any) -> None:
    leaf = clients.sign(AUTHORITIES["client"].issuing_key.public_key(), "app")
    fleet.hear(lambda: fleet.server.converge(extra_trusted_clients=leaf))


@PROVOKED_BY_LEAVING.of("that are no whole PEM certificate")
def _that_are_no_whole_pem_certificate(fleet: Any) -> None:
    fleet.hear(lambda: fleet.server.converge(extra_trusted_clients="old-ca.crt"))


@PROVOKED_BY_LEAVING.of("its own files cannot be used")
def _its_own_files_are_of_no_use(fleet: Any) -> None:
    fleet.cluster.append("postgresql.conf", "ssl = on\nssl_cert_file = 'own.crt'\n")
    _remove(fleet)


@PROVOKED_BY_LEAVING.of("Live sessions use TLS, which the server would no longer offer")
def _live_sessions_use_tls(fleet: Any) -> None:
    fleet.server.settle(hba="hostssl all app all trust\n" + HBA)
    fleet.cluster.append("pg_hba.conf", "host all app all trust\n")  # so it is not the rules
    with wire.encrypted(wire.Endpoint("127.0.0.1", fleet.cluster.port)) as connection:
        assert wire.log_in(connection, "app", "postgres") == "in"
        _remove(fleet)


@PROVOKED_BY_LEAVING.of("which the server would no longer trust")
def _which_the_server_would_not_trust(fleet: Any) -> None:
    _own_tls(fleet)
    fleet.cluster.append("pg_hba.conf", "host all app all trust\n")
    with loops.session(fleet.folder, fleet.cluster.port, AUTHORITIES["server"], AUTHORITIES["client"]):
        _remove(fleet)


@PROVOKED_BY_LEAVING.of("Hosts in --limit and others depend on each other")
def _hosts_depend_on_each_other(fleet: Any) -> None:
    client, server = "app1.example.com", "db1.example.com"
    hostvars = {client: {"postgres_client_identities": [{"role": "app", "os_user": "shop"}]}}
    groups = {"postgres_servers": [server], "postgres_clients": [client]}
    fleet.heed([dependents.refusal(hostvars, groups, [server])])


@PROVOKED_BY_LEAVING.of("cannot write to this directory")
def _cannot_write_to_this_directory(fleet: Any) -> None:
    fleet.server.directory.chmod(0o500)
    _remove(fleet)
    fleet.clients.converge()
    fleet.alice.default.chmod(0o500)
    fleet.hear(lambda: fleet.clients.call(kind=client_removal.Removal))


@PROVOKED_BY_LEAVING.of("and its log cannot be read here")
def _its_log_cannot_be_read(fleet: Any) -> None:
    _own_tls(fleet)
    fleet.cluster.append("postgresql.conf", "log_destination = 'syslog'\n")
    fleet.cluster.psql("SELECT pg_reload_conf()")
    _remove(fleet)


@PROVOKED_BY_LEAVING.of("gets files at libpq's default names, for the first time")
def _gets_files_at_default_names(fleet: Any) -> None:
    wanted = client_target.read(fleet.clients.options, servers.TODAY)
    fleet.heed(convergence.converge(wanted, servers.TODAY, float(servers.TODAY), check_mode=True).warnings)


@PROVOKED_BY_LEAVING.of("These defaults count, because the inventory does not set the variables")
def _defaults_of_a_first_set_up(fleet: Any) -> None:
    hostvars = {"db1.example.com": {"postgres_server_converged": {"reasons": ["no_certificate"]}}}
    fleet.heed(first_set_up.warnings(hostvars, hostvars))


@PROVOKED_BY_LEAVING.of("also connects to servers outside the inventory")
def _also_connects_elsewhere(fleet: Any) -> None:
    fleet.alice.write(".pgpass", "old.example.com:*:*:*:secret\n", 0o600)
    fleet.hear(lambda: fleet.clients.call(known_servers=["db1.example.com"]))


@PROVOKED_BY_LEAVING.of("by its own settings the server would still use that file")
def _by_its_own_settings(fleet: Any) -> None:
    settings = {"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}
    lines = [f"{name} = '{fleet.server.directory}/current/{file}'" for name, file in settings.items()]
    fleet.cluster.append("postgresql.conf", "\n".join(["ssl = on", *lines, ""]))
    _remove(fleet, remove_directory=True)


@PROVOKED_BY_LEAVING.of("postgres_server_hba_mode replace wrote all of it")
def _all_of_it_is_from_mode_replace(fleet: Any) -> None:
    fleet.server.settle(hba_mode="replace")
    _remove(fleet)


@PROVOKED_BY_LEAVING.of("no rule would be left in it")
def _no_rule_would_be_left_in_it(fleet: Any) -> None:
    block, end, _others = (fleet.cluster.data / "pg_hba.conf").read_text(encoding="utf-8").partition("# END")
    fleet.cluster.write("pg_hba.conf", f"{block}{end} pgops.tls\n")
    _remove(fleet)


@PROVOKED_BY_LEAVING.of("is only partly removed, and keys may be left in it")
def _is_not_removed_whole(fleet: Any) -> None:
    def read_only(path: str, **_options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with fleet.patch.context() as patch:
        patch.setattr(os, "rmdir", read_only)
        _remove(fleet, remove_directory=True)


@PROVOKED_BY_LEAVING.of("Remove what is left of the block by hand")
def _remove_what_is_left_by_hand(fleet: Any) -> None:
    fleet.clients.converge()
    fleet.alice.write(".pg_service.conf", f"{service_file.BEGIN.decode()}\n[app]\n")
    fleet.hear(lambda: fleet.clients.call(kind=client_removal.Removal))
