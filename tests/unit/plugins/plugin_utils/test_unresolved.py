# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import unresolved


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (
            "'ansible_fqdn' is undefined",
            "This run gathers no facts. Write ansible_facts['fqdn'], and gather facts first",
        ),
        ("object of type 'dict' has no attribute 'fqdn'", "If it is a fact of the host: This run gathers no facts."),
        ("'ansible_host' is undefined", "Set it for this host, or correct the name."),
        ("'nope' is undefined", "Set it for this host, or correct the name."),
    ],
)
def test_an_undefined_variable_is_told_with_what_to_do(message: str, advice: str) -> None:
    found = unresolved.explained(message)
    assert found.startswith(f"{message}. ")
    assert advice in found


def test_a_message_on_something_else_stays_as_it_is() -> None:
    assert unresolved.explained("recursive loop detected") == "recursive loop detected"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("{{ ansible_fqdn }}", "fqdn"),
        ("{{ ansible_facts['fqdn'] }}", "fqdn"),
        ('{{ ansible_facts["fqdn"] }}', "fqdn"),
        ("db-{{ ansible_facts.default_ipv4.address }}", "default_ipv4"),
    ],
)
def test_a_template_that_was_left_as_it_is_tells_its_fact(text: str, fact: str) -> None:
    assert f"is undefined. This run gathers no facts. Write ansible_facts['{fact}']" in unresolved.of_text(text)


@pytest.mark.parametrize("text", ["db1", "{{ 7 * 191 }}", "{{ ansible_host }}", "{{ nope }}", "ansible_fqdn"])
def test_other_texts_are_nobodys_business(text: str) -> None:
    assert unresolved.of_text(text) == ""
