"""Makes the checkout importable as ansible_collections.pgops.tls."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest  # tests/run.py imports this file where there is none

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".ansible" / "collections"


def link_collection() -> None:
    """Link .ansible/collections/ansible_collections/pgops/tls to the checkout, as Ansible's tools expect it."""
    link = COLLECTIONS / "ansible_collections" / "pgops" / "tls"
    if link.resolve() == ROOT:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("../../../.."))


link_collection()
sys.path.insert(0, str(COLLECTIONS))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out rows of tests marked ``sampled(every)``, unless all are wanted or rows are named.

    The first of every so many rows is tried by ``make test``, each by ``make test-all``.
    """
    is_named = config.option.keyword or any("::" in argument for argument in config.args)
    if os.environ.get("ALL_FAULTS") or is_named:
        return
    rows: Counter[str] = Counter()
    left_out = []
    for item in items:
        marker = item.get_closest_marker("sampled")
        test = item.nodeid.partition("[")[0]
        if marker is not None and rows[test] % marker.args[0]:
            left_out.append(item)
        rows[test] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
