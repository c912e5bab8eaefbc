# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import holder

CONF = b"ssl = on\n"
INVENTORY_NAMES = ["db1", 'd"b\\1', "d\u00e4tabase", "db\n# Inventory host: 1"]


@pytest.mark.parametrize("name", INVENTORY_NAMES)
def test_the_name_is_one_line_that_comes_and_goes(name: str) -> None:
    marked = holder.marked(CONF, name)
    assert marked.startswith(CONF)
    assert len(marked.splitlines()) == 3
    assert holder.unmarked(marked) == CONF
    assert holder.renamed(marked, name, "", "/tls") == []


def test_without_a_name_nothing_is_noted_or_asked() -> None:
    assert holder.marked(CONF, "") == holder.unmarked(CONF) == CONF
    for conf in (None, CONF, holder.marked(CONF, "db1") + b"edited"):
        assert holder.renamed(conf, "db2", "", "/tls") == []
    assert holder.renamed(holder.marked(CONF, "db1"), "", "", "/tls") == []


def test_another_name_is_refused_unless_it_is_said_to_be_the_former_one() -> None:
    marked = holder.marked(CONF, "db1")
    with pytest.raises(
        TlsError, match=r"^/tls: this server was set up as host 'db1' .* calls it 'pg1'.*set former_host: db1"
    ):
        holder.renamed(marked, "pg1", "db2", "/tls")
    assert holder.renamed(marked, "pg1", "db1", "/tls") == ["inventory host: db1 -> pg1"]
