# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of modules name options, and those of roles the variables for them."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.plugin_utils import option_names
from ansible_collections.pgops.tls.tests.shared import ROLE_FOLDERS, ROOT

PLUGINS = ROOT / "plugins"
PACKAGE = "ansible_collections.pgops.tls.plugins."
ROLES = [path.name for path in ROLE_FOLDERS]
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
OF_ROLE = re.compile(r"postgres_(?:server|client|ca|verify|report|pooler)s?(?:_[a-z_]+)?\b")


@functools.lru_cache(maxsize=None)
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def imports(path: Path) -> dict[str, tuple[Path, str]]:
    """Return the names that a file has from other files: the file, and its name there, '' for the whole file."""
    found = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            place = PLUGINS.joinpath(*str(node.module)[len(PACKAGE) :].split("."))
            for one in node.names:
                file = place / f"{one.name}.py"
                found[one.asname or one.name] = (file, "") if file.is_file() else (place.with_suffix(".py"), one.name)
    return found


@functools.lru_cache(maxsize=None)
def definitions(path: Path) -> dict[str, ast.AST]:
    """Return the functions, classes and constants of a file by their names."""
    found: dict[str, ast.AST] = {}
    for node in tree(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        for target in node.targets if isinstance(node, ast.Assign) else []:
            found.update((one.id, node) for one in ast.walk(target) if isinstance(one, ast.Name))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def used(path: Path, node: ast.AST) -> Iterator[tuple[Path, str]]:
    """Return what a definition uses of this collection, each by its file and its name."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield imports(path).get(one.id, (path, one.id))
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id in imports(path):
            yield imports(path)[one.value.id][0], one.attr


def keys(node: ast.AST) -> set[str]:
    """Return what ``option`` is called with. It has to be a literal, or nothing here sees it."""
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    of_option = [one.args[0] for one in calls if isinstance(one.func, ast.Name) and one.func.id == "option"]
    assert all(isinstance(one, ast.Constant) for one in of_option)
    return {str(one.value) for one in of_option if isinstance(one, ast.Constant)}


@functools.lru_cache(maxsize=None)
def keys_of(module: str) -> frozenset[str]:
    """Return the options that a module's messages may name: those in all that it uses, whatever calls that."""
    path = PLUGINS / "modules" / f"{module}.py"
    coming, done, found = [(path, name) for name in definitions(path)], set(), set()
    while coming:
        one = coming.pop()
        node = definitions(one[0]).get(one[1])
        if node is not None and one not in done:
            done.add(one)
            found |= keys(node)
            coming += used(one[0], node)
    return frozenset(found)


@functools.lru_cache(maxsize=None)
def options(module: str) -> frozenset[str]:
    """Return the options of a module, as its documentation and the fragments that it names have them."""
    documented = yaml.safe_load(_assigned(PLUGINS / "modules" / f"{module}.py", "DOCUMENTATION"))
    found = {*documented.get("options", {})}
    for fragment in documented.get("extends_documentation_fragment", []):
        _namespace, _collection, name, *section = fragment.split(".")
        text = _assigned(PLUGINS / "doc_fragments" / f"{name}.py", (section or ["DOCUMENTATION"])[0].upper())
        found |= {*yaml.safe_load(text)["options"]}
    return frozenset(found)


def _assigned(path: Path, name: str) -> str:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{path}: no {name}")


def called(role: str) -> set[str]:
    """Return the modules of this collection that a role calls."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "roles" / role / "tasks").glob("*.yml")]
    return {name for text in texts for name in re.findall(r"^ *(?:- )?pgops\.tls\.(\w+):", text, re.MULTILINE)}


def tasks(found: Any) -> Iterator[dict[str, Any]]:
    """Return what is given to each call of a module of this collection: what the call and its block's variables say."""
    for task in found:
        options_ = {key: value for key, value in task.get("vars", {}).items() if key.endswith("_options")}
        for inner in tasks([*task.get("block", []), *task.get("rescue", [])]):
            (name,) = (key for key in inner if key.startswith("pgops.tls."))
            role_options = next(iter(options_.values()), {})
            yield {name: {**role_options, **(inner[name] or {})}}
        yield from ({key: value} for key, value in task.items() if key.startswith("pgops.tls."))


@functools.lru_cache(maxsize=None)
def variables() -> frozenset[str]:
    specs = [yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()) for role in ROLES]
    return frozenset(name for one in specs for entry in one["argument_specs"].values() for name in entry["options"])


@pytest.mark.parametrize("path", sorted((PLUGINS / "module_utils").rglob("*.py")), ids=lambda path: path.stem)
def test_messages_of_modules_name_no_variable_and_no_group(path: Path) -> None:
    assert OF_ROLE.findall(path.read_text(encoding="utf-8")) == []


def test_a_module_that_names_options_is_told_what_they_are_called() -> None:
    assert {one for one in MODULES if "option_names" in options(one)} == {one for one in MODULES if keys_of(one)}


def test_every_name_is_that_of_an_option() -> None:
    everything = {key for path in (PLUGINS / "module_utils").rglob("*.py") for key in keys(tree(path))}
    assert everything == {key for module in MODULES for key in keys_of(module)}
    for key in everything:
        module, _dot, own = key.rpartition(".")
        for one in [module] if module else [one for one in MODULES if key in keys_of(one)]:
            assert own in options(one), key


@pytest.mark.parametrize("role", ROLES)
def test_a_role_names_a_variable_for_each_of_them_and_for_no_other(role: str) -> None:
    table = option_names.of_role(role)
    assert {*table} == {key for module in called(role) for key in keys_of(module)}
    assert {*table.values()} <= variables()


@pytest.mark.parametrize("role", [role for role in ROLES if option_names.of_role(role)])
def test_a_role_gives_its_names_to_each_call(role: str) -> None:
    files = sorted((ROOT / "roles" / role / "tasks").glob("*.yml"))
    calls = [call for path in files for call in tasks(yaml.safe_load(path.read_text(encoding="utf-8")))]
    given = [{**options_} for call in calls for name, options_ in call.items() if keys_of(name.rpartition(".")[2])]
    assert given
    assert {one.get("option_names") for one in given} == {f"{{{{ __{role}_option_names }}}}"}


def test_on_the_controller_a_role_has_the_names_that_its_modules_get() -> None:
    assert option_names.of_role("postgres_server")["hba"] == "postgres_server_hba"
    assert option_names.of_role("postgres_verify") == {}
