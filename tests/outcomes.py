"""Which tests ran nowhere: many containers run the same files, and each skips what its versions cannot try."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree


def ran_nowhere(reports: Path) -> list[str]:
    """Return the tests that were skipped in each of the reports, in JUnit's format, that know them."""
    ran: set[str] = set()
    skipped: set[str] = set()
    for path in reports.glob("*.xml"):
        for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314 (pytest wrote it)
            name = f"{case.get('classname')}::{case.get('name')}"
            (ran if case.find("skipped") is None else skipped).add(name)
    return sorted(skipped - ran)
