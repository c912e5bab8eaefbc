# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users of the collection may rely on, as lines; ``python tests/interface.py`` writes them to ``interface.txt``.

The page guide_interface says what these lines promise. They come from the documentation of modules and roles, and from
the codes in the source, so nobody has to keep a list of them. A line in the file that is none of them any more is a
promise that was broken.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests" / "interface.txt"
# Modules for playbooks of users; all others are parts of roles and playbooks, and change with them
MODULES = (
    "certificate", "certificate_authority", "client", "client_kit", "connection_info", "endpoint_info", "fleet_report",
    "hba_info", "patroni", "pgbouncer", "replication", "server", "session_info", "session_table",
)  # fmt: skip
# Besides main; playbooks use the others, and so may change them
ENTRY_POINTS = ("roll_back", "sessions")
FILTERS = ("identity_rules",)
REASONS = ("plugins/module_utils/credential/due.py", "plugins/module_utils/server/plan.py")
_REASON = re.compile(r"([a-z]+(?:_[a-z]+)*)(?:_|: .*)?")


def lines() -> set[str]:
    """Return a line for each name that stays within a major version."""
    return {*_playbooks(), *_roles(), *_modules(), *(f"filter {name}" for name in FILTERS), *_codes(), *_reasons()}


def _playbooks() -> Iterator[str]:
    for path in (ROOT / "playbooks").glob("*.yml"):
        if path.stem != "next_phase":  # a part of rotate_ca
            yield f"playbook {path.stem}"


def _roles() -> Iterator[str]:
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        role = path.parents[1].name
        for point, spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            if point == "main":
                yield f"role {role}"
            elif point in ENTRY_POINTS:
                yield f"role {role} entry point {point}"
            yield from _options(f"variable of {role}", spec.get("options", {}))


def _modules() -> Iterator[str]:
    for name in MODULES:
        texts = _constants(ROOT / "plugins" / "modules" / f"{name}.py")
        documentation = yaml.safe_load(texts["DOCUMENTATION"])
        yield f"module {name}"
        for fragment in documentation.get("extends_documentation_fragment", []):
            yield from _options(f"module {name} option", _fragment(fragment))
        yield from _options(f"module {name} option", documentation.get("options", {}))
        yield from _results(f"module {name} result", yaml.safe_load(texts.get("RETURN", "")) or {})


def _fragment(name: str) -> dict[str, Any]:
    """Return the options of a documentation fragment, by its full name."""
    parts = name.split(".")[2:]
    texts = _constants(ROOT / "plugins" / "doc_fragments" / f"{parts[0]}.py")
    found = yaml.safe_load(texts[parts[1].upper() if len(parts) > 1 else "DOCUMENTATION"])
    return dict(found.get("options", {}))


def _constants(path: Path) -> dict[str, str]:
    """Return the texts that a file gives to names."""
    return {
        target.id: node.value.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _options(kind: str, options: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, option in options.items():
        yield f"{kind} {above}{name}"
        for choice in option.get("choices", ()):
            yield f"{kind} {above}{name}={choice}"
        yield from _options(kind, option.get("options", {}), f"{above}{name}.")


def _results(kind: str, results: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, result in results.items():
        yield f"{kind} {above}{name}"
        yield from _results(kind, result.get("contains", {}), f"{above}{name}.")


def _codes() -> Iterator[str]:
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield from (f"error {code}" for code in _code(node.keywords))


def _code(keywords: Iterable[ast.keyword]) -> Iterator[str]:
    for keyword in keywords:
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
            yield keyword.value.value


def _reasons() -> Iterator[str]:
    """Return the reasons for a certificate, without what follows them."""
    for path in REASONS:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.List | ast.Tuple | ast.ListComp | ast.Call) and not _is_error(node):
                yield from (f"reason {word}" for word in map(_reason, _elements(node)) if word)


def _is_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and not (isinstance(node.func, ast.Attribute) and node.func.attr == "append")


def _elements(node: Any) -> list[Any]:
    if isinstance(node, ast.ListComp):
        return [node.elt]
    found = node.args if isinstance(node, ast.Call) else node.elts
    return [each for one in found for each in ([one.body, one.orelse] if isinstance(one, ast.IfExp) else [one])]


def _reason(node: ast.AST) -> str:
    """Return the word with which a reason begins, '' for anything else."""
    text = node.values[0] if isinstance(node, ast.JoinedStr) else node
    found = _REASON.fullmatch(text.value) if isinstance(text, ast.Constant) and isinstance(text.value, str) else None
    return found[1] if found else ""


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in sorted(lines())), encoding="utf-8")
