# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way out of a server with every fault at every operation on files, command, reload and handshake.

Wherever a run is killed or fails: the server serves ours or its own, it can be restarted, the next run of the same kind
ends in the new state, and nothing is left over. What the user is told is true.
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.server import proof, removal
from ansible_collections.pgops.tls.tests import fault_matrix, faults
from ansible_collections.pgops.tls.tests.servers import Server
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH
from ansible_collections.pgops.tls.tests.system.test_server_faults import (
    FILE_FAULTS,
    MAPPED_RULES,
    RELOAD_PATIENCE,
    Stage,
    State,
)


class Removal(Stage):
    """A server that loses all that this collection has added; its files count as long as the server names them."""

    kind: type[removal.RuleRemoval] = removal.Removal

    def state(self) -> State:
        found = super().state()
        is_named = str(self.server.directory).encode() in found.configuration[0]
        return found if is_named else found._replace(used=())

    def reset(self) -> None:
        if not self.server.directory.exists():
            self.server.directory.mkdir()
            shutil.chown(self.server.directory, self.server.cluster.account)
        super().reset()

    def converges(self) -> None:
        """Check that the next run ends in the new state and leaves nothing, and the one after it does nothing."""
        self.change()
        assert self.state() == self.after
        assert self.left() == []
        assert self.server.directory.exists() is not self.options["remove_directory"]
        assert self.server.converge(kind=self.kind, **self.options).changes == []


class RuleRemoval(Removal):
    """A server that loses the rules alone."""

    kind = removal.RuleRemoval


@pytest.fixture
def own(server: Server, server_authority: Any, client_authority: Any) -> Server:
    """Give a server with a certificate and a trusted authority of its own, that the collection has not seen yet."""
    server.cluster.serve(*server_authority.issue("own", "serverAuth", "DNS:localhost"), client_authority.root)
    return server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the waiting time of thousands of points."""
    monkeypatch.setattr(proof, "_PATIENCE", RELOAD_PATIENCE)


def settled(server: Server, *, remove_directory: bool) -> dict[str, Any]:
    """Give a server all that there is to remove; return the options of the call that does it."""
    server.settle(**MAPPED_RULES, plaintext="allow")
    return {"remove_directory": remove_directory}


def test_a_fault_at_any_point_of_the_way_out_leaves_the_old_or_the_new_state(own: Server) -> None:
    fault_matrix.try_all(Removal(own, settled(own, remove_directory=True)), "server", "removal with directory")


@ONLY_THOROUGH
def test_a_fault_in_the_removal_of_rules_leaves_the_old_or_the_new_ones(own: Server) -> None:
    fault_matrix.try_all(RuleRemoval(own, settled(own, remove_directory=False)), "server", "removal of rules")


@ONLY_THOROUGH
def test_a_fault_where_no_tls_will_be_left_leaves_the_old_or_the_new_state(server: Server) -> None:
    fault_matrix.try_all(Removal(server, settled(server, remove_directory=False)), "server", "removal of all TLS")


@ONLY_THOROUGH
def test_a_fault_in_the_recovery_of_a_removal_leaves_the_old_or_the_new_state(own: Server) -> None:
    options = settled(own, remove_directory=True)
    with faults.dying():
        own.converge(kind=removal.Removal, **options)
    fault_matrix.try_all(Removal(own, options), "server", "recovery of a removal")


@ONLY_THOROUGH
def test_a_fault_with_files_of_root_leaves_the_old_or_the_new_state(hardened: Server) -> None:
    stage = Removal(hardened, settled(hardened, remove_directory=True))
    fault_matrix.try_all(stage, "server", "removal, files of root", FILE_FAULTS)
