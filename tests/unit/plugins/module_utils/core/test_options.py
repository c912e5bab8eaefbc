# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages call an option as whoever reads them does."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.options import named, option


def test_an_option_has_its_own_name_and_one_of_another_module_its_module() -> None:
    assert option("hba_mode") == "hba_mode"
    assert option("client.roots") == "roots of module client"


def test_a_caller_has_names_of_its_own_and_only_where_it_gives_them() -> None:
    with named({"hba": "my_hba", "client.roots": "my_roots", "ident": None, "names": 5}):
        assert [option(one) for one in ("hba", "client.roots")] == ["my_hba", "my_roots"]
        assert [option(one) for one in ("hba_mode", "ident", "names")] == ["hba_mode", "ident", "5"]
        with named({}):
            assert option("hba") == "hba"
        assert option("hba") == "my_hba"
    assert option("hba") == "hba"


def test_names_end_with_a_failure() -> None:
    with pytest.raises(ValueError, match="x"), named({"hba": "my_hba"}):
        raise ValueError("x")
    assert option("hba") == "hba"
