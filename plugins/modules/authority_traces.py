# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action authority_traces."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authority_traces
short_description: Say whether hosts have TLS from authorities that are not here
version_added: 1.0.0
description:
  - If a host already has TLS, authorities exist somewhere, and no host would trust new ones. So ask all hosts before
    you make the first authorities of a fleet.
  - It runs on the controller. Call it twice, with C(run_once). The first call returns where the hosts of
    C(postgres_servers) and C(postgres_clients) keep their TLS files. The second gets what was found there, and fails if
    no authorities may be made.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  directory:
    description: The directory in which there are no authorities.
    type: path
    required: true
  host:
    description: The host of that directory.
    type: str
    required: true
  answers:
    description:
      - Results of C(ansible.builtin.stat) for C(current) in the directories of RV(asks). C(item) is its entry.
      - Hosts that could not be asked are warned of.
    type: list
    elements: dict
    default: []
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn where hosts keep their TLS files
  run_once: true
  pgops.tls.authority_traces:
    directory: /srv/postgres-ca
    host: localhost
  register: traces

- name: Show where the keys of this host are
  ansible.builtin.debug:
    msg: "{{ traces.asks[inventory_hostname] | default([]) }}"
"""

RETURN = r"""
asks:
  description:
    - For each host of the play, which hosts it asks. Each entry is a list of two, the name of a host and a directory.
      C(~OS_USER) is a home that the inventory does not name.
    - A host asks itself. Hosts that are not in the play are shared out among those that are.
  returned: success
  type: dict
  sample: {"db1": [["db1", "/etc/postgresql/tls/5432"]]}
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: authorities_elsewhere
"""
