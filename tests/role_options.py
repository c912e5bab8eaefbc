"""Prints the options that roles give to modules, as this collection finds them and as Ansible templates them.

Reads a list of pairs from standard input, a role and variables as YAML. A process of its own, since Ansible's loader of
collections has to come before any import of this one.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible._internal._datatag._tags import Origin, TrustedAsTemplate
from ansible._internal._yaml._loader import AnsibleInstrumentedLoader
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

init_plugin_loader([])

from ansible_collections.pgops.tls.plugins.plugin_utils import role_options  # noqa: E402
from ansible_collections.pgops.tls.tests.shared import ROOT  # noqa: E402

HOST = "db1.example.com"
NO_SERVERS = {"endpoints": "{}", "differing_endpoints": {}, "versions": "{}", "bundles": {}, "trusts": "{}"}
AUTHORITY: dict[str, Any] = {
    "roots": "ROOT\n",
    "issuing": "ISSUING\n",
    "bundle": "ALL\n",
    "crls": "LISTS\n",
    "revoked": ["1f"],
    "shared": False,
}
RULE = {"database": ["shop"], "user": "app", "method": "cert"}
MAPPED = {"map": "pgops_pooler", "system_user": "pgbouncer", "database_user": "app"}
ACCESS = {"rules": [RULE], "maps": [MAPPED], "must_get_in": [{"role": "app"}], "databases": ["shop"]}
FOUND = {
    "inventory_hostname": HOST,
    "postgres_ca_authorities": {"server": AUTHORITY, "client": AUTHORITY, "patroni": AUTHORITY},
    "__postgres_server_access": {"servers": {HOST: ACCESS}},
    "__postgres_client_known": {"names": HOST, "authority": "client", "authorities": {}, "unready": [], **NO_SERVERS},
    "groups": {"postgres_servers": [HOST], "postgres_clients": []},
}


def loaded(path: str) -> Any:
    """Return what a file has, trusted as Ansible trusts the files of a role."""
    return DataLoader().load_from_file(str(ROOT / path), trusted_as_template=True)


def trusted(text: str) -> Any:
    """Return variables as Ansible reads them from an inventory."""
    tagged = Origin(description="inventory").tag(TrustedAsTemplate().tag(text))
    loader = AnsibleInstrumentedLoader(tagged)
    return loader.get_single_data()


def both(role: str, given: str) -> tuple[Any, Any, list[str]]:
    """Return the options as this collection finds them, as Ansible templates them, and what the former asked it for."""
    variables = {}
    for name in ("postgres_ca", role):
        variables.update(loaded(f"roles/{name}/defaults/main.yml"))
        variables.update(loaded(f"roles/{name}/vars/main.yml"))
    variables.update({**FOUND, "role_path": str(ROOT / "roles" / role), **trusted(given)})
    variables["hostvars"] = {HOST: variables}
    variables["ansible_search_path"] = [str(ROOT / "roles" / role)]
    blocks = [one.get("vars", {}) for one in loaded(f"roles/{role}/tasks/main.yml")]
    declared = {name: text for one in blocks for name, text in one.get(f"__{role}_options", {}).items()}
    del declared["controller_time"]
    template = Templar(loader=DataLoader(), variables=variables).template
    found: dict[str, Any] = {}
    asked: list[str] = []

    def noted(value: Any) -> Any:
        asked.append(str(value))
        return template(value)

    try:
        found = dict(role_options.RoleOptions(role, variables, noted).given(declared))
        return found, template(declared), asked
    except Exception as error:  # noqa: BLE001 (whatever it is, the test reads it)
        return found, str(error), asked


if __name__ == "__main__":
    print(json.dumps([both(*one) for one in json.load(sys.stdin)]))
