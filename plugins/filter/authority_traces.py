# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says whether hosts have TLS from authorities that are not here."""

from __future__ import annotations

DOCUMENTATION = r"""
name: authority_traces
short_description: Say whether hosts have TLS from authorities that are not here
version_added: 0.1.0
description:
  - Reads what the hosts of a fleet answered before its first authorities are made. If one of them has TLS, there were
    authorities, and others in their place would be trusted by nobody.
positional: directory, host
options:
  _input:
    description:
      - Results of C(ansible.builtin.stat) for C(current) in each directory that P(pgops.tls.tls_directories#filter)
        lists, which is the C(item) of each.
    type: list
    elements: dict
    required: true
  directory:
    description: The directory in which there are no authorities.
    type: path
    required: true
  host:
    description: The host of that directory.
    type: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Refuse to make other authorities
  ansible.builtin.fail:
    msg: "{{ found.refusal }}"
  when: found.refusal | length > 0
  vars:
    found: "{{ looked.results | pgops.tls.authority_traces('/srv/postgres-ca', 'localhost') }}"
"""

RETURN = r"""
_value:
  description: What to say to whoever wants to make authorities.
  type: dict
  contains:
    refusal:
      description: Why none may be made. Empty if they may.
      type: str
    silent:
      description: The hosts that could not be asked, each with the reason.
      type: list
      elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import traces


def authority_traces(answers: list[dict[str, Any]], directory: str, host: str) -> dict[str, Any]:
    """Return why no authorities may be made, and who could not be asked."""
    return {"refusal": traces.refusal(answers, directory, host), "silent": traces.silent(answers)}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"authority_traces": authority_traces}
