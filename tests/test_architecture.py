"""Who may import whom, read from the imports themselves; and every stage of dvc.yaml depends on the code it runs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.glob("wordgaze/**/*.py"))
}
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
COMMANDS = [
    path for path in (SOURCE / "wordgaze/cli").glob("*.py") if path.stem not in ("console", "models", "registry_tables")
]
STAGE_MODULES = [module for module in MODULES if module.startswith("wordgaze.stages.")]
CODE = [*MODULES.values(), *sorted((ROOT / "pipeline").glob("**/*.py"))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def walk(node: ast.AST, typing_too: bool) -> Iterator[ast.AST]:
    """All nodes, functions' bodies included; the blocks for type checkers if ``typing_too``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if typing_too or not is_type_checking(child):
            yield from walk(child, typing_too)


def imports(path: Path, typing_too: bool = True) -> set[str]:
    """Dotted names that a file imports; ``from a import b`` gives ``a`` and ``a.b``, which may be a module."""
    found: set[str] = set()
    for node in walk(tree(path), typing_too):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            module = node.module or ""
            found.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
    return found


def importers(name: str) -> set[str]:
    """The files that import ``name`` or something inside it."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in CODE
        if any(imported == name or imported.startswith(f"{name}.") for imported in imports(path))
    }


def calls(path: Path, function: str) -> Iterator[ast.Call]:
    return (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call) and ast.unparse(n.func) == function)


def test_mlflow_is_imported_by_tracking_alone() -> None:
    assert importers("mlflow")
    assert {name for name in importers("mlflow") if not name.startswith("src/wordgaze/tracking/")} == set()


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("great_expectations", {"src/wordgaze/data/contracts/__init__.py"}),
        ("typer", {f"src/wordgaze/cli/{path.name}" for path in COMMANDS}),
        ("gradio", {f"src/wordgaze/app/{name}.py" for name in ("handlers", "batch_tab", "captioner_choice", "page")}),
        ("dvc", set()),
        *((library, set()) for library in ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")),
    ],
)
def test_a_library_is_imported_only_where_it_belongs(library: str, modules: set[str]) -> None:
    assert importers(library) == modules


def test_no_stage_imports_a_stage() -> None:
    shared = "wordgaze.stages.training"
    found = {
        (module, imported)
        for module in STAGE_MODULES
        for imported in imports(MODULES[module])
        if imported in STAGE_MODULES and imported != shared
    }
    assert found == set()
    assert importers(shared) == {
        f"src/wordgaze/stages/{name}.py" for name in ("finetune", "train_stage1", "train_stage2")
    }


ROOMS = (
    "core", "distributed", "text", "metrics", "models", "generation", "config", "vision", "data", "inference", "batch",
    "export", "training", "evaluation", "inspection", "tracking", "serving", "app", "stages", "cli",
)  # fmt: skip
"""From the bottom up: a room imports only from rooms before it and from itself."""


def room(module: str) -> str:
    """The room of a module; empty for the package itself and for ``python -m wordgaze``."""
    parts = module.removesuffix(".__main__").split(".")
    return parts[1] if len(parts) > 1 else ""


def arrows() -> set[tuple[str, str]]:
    """(importing module, imported module), within wordgaze, of different rooms."""
    return {
        (module, imported)
        for module, path in MODULES.items()
        for imported in imports(path)
        if imported in MODULES and room(module) and room(imported) not in ("", room(module))
    }


def test_no_room_imports_one_above_it() -> None:
    assert {room(module) for module in MODULES} == {"", *ROOMS}
    upward = {(a, b) for a, b in arrows() if ROOMS.index(room(a)) < ROOMS.index(room(b))}
    assert upward == set()


@pytest.mark.parametrize("pure", ["text", "metrics", "models", "generation"])
def test_the_mathematics_imports_no_framework(pure: str) -> None:
    """Of wordgaze only core and each other, of other libraries only numpy, torch and, for settings, pydantic."""
    allowed = {"numpy", "torch", "pydantic", "wordgaze", *sys.stdlib_module_names}
    known = {*ALLOWED_BEYOND.get(pure, ()), *allowed}
    modules = [module for module in MODULES if room(module) == pure]
    assert modules
    foreign = {(m, i) for m in modules for i in imports(MODULES[m]) if i.split(".")[0] not in known}
    inside = {(a, b) for a, b in arrows() if room(a) == pure and room(b) not in ("core", "text", "metrics", "models")}
    assert (foreign, inside) == (set(), set())


ALLOWED_BEYOND = {"metrics": ("nltk",), "text": ("pyarrow", "regex", "tokenizers", "sentencepiece")}


def test_torch_loads_tensors_only() -> None:
    loads = [(path, call) for path in CODE for call in calls(path, "torch.load")]
    assert loads
    for path, call in loads:
        safe = {k.arg: ast.unparse(k.value) for k in call.keywords}.get("weights_only")
        assert safe == "True", f"{path}:{call.lineno} may unpickle; say weights_only=True"


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = {"torch", "mlflow", "pandas", "great_expectations", "nltk"}
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import wordgaze.cli; print({heavy} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", code, str(SOURCE)], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def holds_code(path: Path) -> bool:
    """False for a package's file that is empty or holds its docstring alone: a change of it changes no result."""
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in tree(path).body)


def closure(module: str) -> set[Path]:
    """The files of wordgaze that run when ``module`` is imported and its functions are called."""
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in MODULES:
            continue
        seen.add(name)
        parents = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
        waiting += [*parents, *imports(MODULES[name], typing_too=False)]
    # None of these decides an output: the lazy public names, what MLflow records, how a renamed key is refused.
    aside = {name for name in seen if room(name) in ("", "tracking") or name == "wordgaze.config.renamed"}
    return {MODULES[name] for name in seen - aside if holds_code(MODULES[name])}


def contracts(paths: set[Path]) -> set[Path]:
    """The contracts that these files name: ``check("NAME", …)``."""
    return {
        SOURCE / "wordgaze/data/contracts" / f"{call.args[0].value}.yaml"
        for path in paths
        for function in ("check", "check_parts")
        for call in calls(path, function)
        if call.args and isinstance(call.args[0], ast.Constant)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs(stage: str) -> None:
    given = [ROOT / (dep if isinstance(dep, str) else next(iter(dep))) for dep in STAGES[stage].get("deps", [])]
    code = closure(f"wordgaze.stages.{stage}")
    assert SOURCE / "wordgaze/stages" / f"{stage}.py" in code
    needed = {ROOT / "pipeline/__main__.py", *code, *contracts(code)}
    missing = sorted(
        path.relative_to(ROOT).as_posix()
        for path in needed
        if not any(path == dep or dep in path.parents for dep in given)
    )
    assert not missing, f"stage {stage} of dvc.yaml lacks the deps:\n  " + "\n  ".join(missing)


def test_every_contract_is_checked_by_a_stage() -> None:
    used = set().union(*(contracts(closure(f"wordgaze.stages.{stage}")) for stage in STAGES))
    assert used == set((SOURCE / "wordgaze/data/contracts").glob("*.yaml"))


@pytest.mark.parametrize("stage", STAGES)
def test_the_files_that_a_stage_depends_on_exist(stage: str) -> None:
    code = [dep for dep in STAGES[stage].get("deps", []) if dep.startswith(("src/", "pipeline/"))]
    assert [dep for dep in code if not (ROOT / dep).exists()] == []


# Equal by design: the entry of each stage, and what each data set says about its public copy.
SHARED_NAMES = {"run", "PUBLIC", "CHECKSUMS"}


def public_names(path: Path) -> Iterator[str]:
    """The public names that a module defines, without type variables."""
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "TypeVar(" not in ast.unparse(node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def test_no_two_public_things_share_a_name() -> None:
    """The command line is left out: the function of a command has the command's name, and so may what it calls."""
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        if room(module) != "cli" or path.stem in ("options", "console"):
            for name in set(public_names(path)) - SHARED_NAMES:
                places.setdefault(name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
