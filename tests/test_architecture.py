"""Who may import whom: data flows one way, and pages never pay for torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From left to right: a module imports only modules to its left, or in its own group.
ORDER = [
    ["errors", "progress", "record", "exported", "actions"],
    ["rollout", "aggregate", "acting", "market.prices", "market.accounting"],
    ["estimators", "market"],
    ["classic_control", "tasks"],
    ["settings", "config"],
    ["snapshot", "turn", "optimisers", "policies"],
    ["updates"],
    ["observations", "on_policy", "dqn", "asynchronous", "listing", "trainer"],
    ["evaluate"],
    ["runs"],
    ["charts"],
    ["market_charts", "comparison_charts"],
    ["__main__"],
]
HEAVY = {"torch", "gymnasium"}


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path, at_run_time_only=True):
    """Modules that a file imports: (name, whether at import of the file itself)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing_only and at_run_time_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module, id(node) in top
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


def place(module):
    """The group of a module of pgcore, the most specific name first."""
    for name in (module, module.rsplit(".", 1)[0], module.split(".")[0]):
        for index, group in enumerate(ORDER):
            if name in group:
                return index
    return None


def module_of(path):
    return ".".join(path.relative_to(ROOT / "pgcore").with_suffix("").parts)


def test_every_room_has_its_place():
    unknown = [module_of(path) for path in sources("pgcore") if path.stem != "__init__" and place(module_of(path)) is None]
    assert not unknown, f"add these to ORDER: {unknown}"


@pytest.mark.parametrize("path", [p for p in sources("pgcore") if p.stem != "__init__"], ids=module_of)
def test_a_module_imports_only_what_is_to_its_left(path):
    here = place(module_of(path))
    for name, at_import in imports(path):
        if at_import and name.startswith("pgcore."):
            there = place(name.removeprefix("pgcore."))
            assert there is None or there <= here, f"{module_of(path)} imports {name}, which is to its right"


def test_pgcore_knows_nothing_of_streamlit():
    assert not [path for path in sources("pgcore") for name, _ in imports(path) if name.split(".")[0] in ("streamlit", "pages")]


def test_pages_import_neither_torch_nor_gymnasium():
    paths = [*sources("pages"), ROOT / "app.py"]
    assert not [path for path in paths for name, _ in imports(path, False) if name.split(".")[0] in HEAVY]


def test_all_that_pages_import_comes_without_torch():
    modules = {
        name
        for path in [*sources("pages"), ROOT / "app.py"]
        for name, _ in imports(path)
        if name.startswith("pgcore.") and (ROOT / (name.replace(".", "/") + ".py")).exists()
    }
    code = f"""import sys, importlib
for module in {sorted(modules)}:
    importlib.import_module(module)
print("torch" in sys.modules, "gymnasium" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
