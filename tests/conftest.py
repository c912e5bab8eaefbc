"""Makes the checkout importable as ansible_collections.pgops.tls."""

from __future__ import annotations

import sys
from pathlib import Path

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
