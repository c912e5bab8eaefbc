# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever takes PEM is known to the test that puts private keys into it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests import anchors
from ansible_collections.pgops.tls.tests.shared import ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def with_pem(options: dict[str, Any]) -> Iterator[str]:
    """Return the options, at the top level, whose description says PEM, or of which a suboption's does."""
    for name, option in options.items():
        if "PEM" in str(option.get("description")) or list(with_pem(option.get("suboptions") or {})):
            yield name


@pytest.mark.parametrize("module", MODULES)
def test_every_option_with_pem_is_in_the_table(module: str) -> None:
    loaded = importlib.import_module(f"ansible_collections.pgops.tls.plugins.modules.{module}")
    options = yaml.safe_load(loaded.DOCUMENTATION).get("options") or {}
    known = set(anchors.OPTIONS.get(module, ()))
    assert set(with_pem(options)) <= known <= set(options)


def test_every_variable_with_pem_is_in_the_table() -> None:
    found = set()
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found.update(with_pem(entry.get("options") or {}))
    assert found == {*anchors.VARIABLES.values(), *anchors.PARTS}
