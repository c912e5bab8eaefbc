# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the table of a run shows, in the words of the graph, and beside what follows from the inventory."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from ansible_collections.pgops.tls.tests import tables
from ansible_collections.pgops.tls.tests.clusters import edges

ACCEPTED = ("ok", "prompt")


@dataclass
class Seen:
    """What a table shows, in the words of the graph."""

    proven: set[edges.Edge]
    accepted: Counter[edges.Connection]
    refused: Counter[edges.Connection]
    skipped: Counter[edges.Connection]


def seen(rows: list[tables.Row]) -> Seen:
    """Return what was tried: by the certificate's role where another one is asked for."""
    found = Seen(set(), Counter(), Counter(), Counter())
    for row in rows:
        other = re.search(r"another role's certificate \((\S+)\)", row.wanted)
        connection = edges.Connection(row.client, other[1] if other else row.role, row.name, row.wanted)
        is_accepted = row.wanted.startswith("accepted")
        into = found.skipped if row.result == "skipped" else found.accepted if is_accepted else found.refused
        into[connection] += 1
        if is_accepted and row.result in ACCEPTED:
            found.proven.add(edges.Edge(row.client, row.role, row.server))
    return found


def counts_line(graph: edges.Graph, name: str, tried: Seen) -> str:
    """Return a line with what a run has tried, beside what the inventory promises."""
    pairs = {
        "edges": (len(tried.proven), graph.edge_count),
        "accepted": (tried.accepted.total(), graph.accepted.total()),
        "refused": (tried.refused.total(), graph.refused.total()),
        "skipped": (tried.skipped.total(), graph.skipped.total()),
    }
    return "  ".join([f"{name:26}", *(f"{key} {one}/{other}" for key, (one, other) in pairs.items())])
