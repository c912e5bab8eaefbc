# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that roles give to modules are what Ansible would make of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import role_options
from ansible_collections.pgops.tls.tests.shared import COLLECTIONS, ROOT

CASES = [
    ("postgres_server", "{}"),
    ("postgres_server", "{postgres_server_port: 5433, postgres_server_extra_names: [shop.example.com]}"),
    ("postgres_server", "{postgres_server_port: '{{ own_port }}', own_port: 5434}"),
    ("postgres_server", "{postgres_server_names: ['{{ inventory_hostname }}', 192.0.2.1]}"),
    ("postgres_server", "{postgres_server_directory: '/srv/{{ postgres_server_port }}', postgres_server_renew: true}"),
    ("postgres_server", "{postgres_server_hba: [{user: '{{ who }}', method: cert, map: own}], who: clerk}"),
    ("postgres_server", "{postgres_server_ident: [{map: own, system_user: x, database_user: clerk}]}"),
    ("postgres_server", "{postgres_server_ssl_preset: modern, postgres_server_ssl: {ssl_groups: X25519}}"),
    ("postgres_server", "{postgres_server_ssl_preset: fips}"),
    ("postgres_server", "{postgres_server_plaintext: allow, postgres_server_extra_trusted_clients: '{{ 1 + 1 }}'}"),
    ("postgres_server", "{postgres_server_login_user: ops, postgres_server_renew_before: 30d}"),
    ("postgres_pooler", "{}"),
    (
        "postgres_pooler",
        "{postgres_pooler_login_unix_socket: /run, postgres_pooler_names: ['{{ who }}'], who: p}",
    ),
    ("postgres_pooler", "{postgres_pooler_names: [pool1, {name: pool, port: 5432, shared: true}]}"),
    ("postgres_client", "{}"),
    ("postgres_client", "{postgres_client_pkcs12_passwords: {shop/app: '{{ word }}'}, word: of the vault}"),
    ("postgres_client", "{postgres_client_extra_roots: MORE, postgres_client_renew_before: 9d}"),
]


def both(cases: list[tuple[str, str]]) -> list[tuple[dict[str, Any], Any, list[str]]]:
    """Return for each case what is found, what Ansible makes of the same templates, and what it was needed for."""
    argv = [sys.executable, str(ROOT / "tests" / "role_options.py")]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    }
    done = subprocess.run(argv, input=json.dumps(cases), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return list(map(tuple, json.loads(done.stdout)))


def test_modules_get_the_options_that_ansible_would_give_them() -> None:
    for case, (found, expected, _asked) in zip(CASES, both(CASES)):
        # an empty text is nothing to a template of Ansible
        assert isinstance(expected, dict), expected
        assert found == {name: "" if value is None else value for name, value in expected.items()}, case
        assert found["roots"].startswith("ROOT"), case


def test_ansible_is_asked_for_templates_of_the_user_alone() -> None:
    of_the_users = ["{{ own_port }}", "/srv/{{", "{{ inventory_hostname }}", "{{ who }}", "{{ word }}", "{{ 1 + 1 }}"]
    only_for_renewals = "{{ not __postgres_client_no_server_followed }}"
    asked = [text for _found, _expected, texts in both(CASES) for text in texts if text != only_for_renewals]
    assert [text for text in asked if not any(own in text for own in of_the_users)] == []
    assert [own for own in of_the_users if not any(own in text for text in asked)] == []


def test_a_template_of_the_user_is_rendered_by_ansible(tmp_path: Any) -> None:
    own = tmp_path / "templates" / "own.j2"
    own.parent.mkdir()
    own.write_text("ssl = {{ {} | combine({'is': 'on'}) | dict2items | map(attribute='value') | first }}\n")
    ((found, expected, _asked),) = both([("postgres_server", f"{{postgres_server_ssl_template: {own}}}")])
    assert found["ssl_conf"] == expected["ssl_conf"] == "ssl = on\n"


def test_what_is_undefined_is_named_as_ansible_does() -> None:
    ((_found, message, _asked),) = both([("postgres_server", "{postgres_server_names: ['{{ nope }}']}")])
    assert "'nope' is undefined" in message


def test_what_concerns_all_hosts_is_not_templated_for_each_of_them() -> None:
    def never(value: Any) -> Any:
        raise AssertionError(value)

    variables = {"inventory_hostname": "b", "all_hosts": {"hosts": {"a": "{{ a }}", "b": [1]}}, "empty": ""}
    options = role_options.RoleOptions("postgres_verify", variables, never)
    texts = {"own": "{{ all_hosts.hosts[inventory_hostname] }}", "none": "{{ empty or omit }}"}
    assert dict(options.given(texts)) == {"own": [1]}


def test_a_default_that_does_more_than_name_variables_is_left_to_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_options, "_texts", lambda _role: ["/{{ x | upper }}/{{ x }}", "/{{ x }}"])
    for default, expected in (("/{{ x | upper }}/{{ x }}", "templated"), ("/{{ x }}", "/y")):
        options = role_options.RoleOptions("postgres_client", {"own": default, "x": "y"}, lambda _value: "templated")
        assert dict(options.given({"option": "{{ own }}"})) == {"option": expected}


@pytest.mark.parametrize("value", ["{{ x }}", ["{% if x %}"], {"a": "{{ x }}"}, {"{{ x }}": 1}, object()])
def test_what_may_be_a_template_or_a_secret_is_left_to_ansible(value: Any) -> None:
    options = role_options.RoleOptions("postgres_client", {"own": value}, lambda _value: "templated")
    assert dict(options.given({"option": "{{ own }}"})) == {"option": "templated"}
