"""The layers of the house, held against the imports: a file imports from lower numbers only, never sideways."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lightface"

LAYERS = {
    0: ["errors", "records", "files", "machine", "stopping", "words"],
    1: ["folders", "frame", "matching"],
    2: [
        "databases",
        "locations",
        "detection",
        "alignment",
        "models",
        "measurement",
        "quality",
        "clustering",
    ],
    3: ["images", "embedding", "gallery", "tables", "drawing"],
    4: ["pipeline", "crops"],
    5: ["batch", "metadata"],
    6: ["evaluation", "training", "doctor"],
    7: ["pages", "api"],
    8: ["cli"],
}
# The front door offers names of every layer and imports none before it is used, so that any file may take the
# version from it.
DOOR = "lightface"
LAYER_OF = {part: layer for layer, parts in LAYERS.items() for part in parts}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def part_of(module: str) -> str:
    """`lightface.gallery.rules` -> `gallery`: what the table speaks of."""
    return module.split(".")[1]


def imports_of(file: Path) -> set[str]:
    """The modules of lightface that a file imports, wherever in it, those for type checking included; not the door."""
    known = {module_name(other) for other in FILES}
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
    return found & known - {DOOR}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_a_file_imports_from_lower_layers_only(file: Path) -> None:
    if module_name(file) == DOOR:
        return
    own = part_of(module_name(file))
    assert own in LAYER_OF, f"{own} has no layer; add it to the table here and in the design"
    for imported in imports_of(file):
        other = part_of(imported)
        assert other == own or LAYER_OF[other] < LAYER_OF[own], f"{file.name} imports {imported}"


def test_files_of_one_folder_import_each_other_without_a_cycle() -> None:
    imports = {module_name(file): imports_of(file) for file in FILES if module_name(file) != DOOR}
    # Raises CycleError, which names the modules.
    assert list(TopologicalSorter(imports).static_order())


def test_only_detection_imports_facenet_pytorch() -> None:
    importers = {file.parent.name for file in FILES if "facenet_pytorch" in file.read_text(encoding="utf-8")}
    assert importers == {"detection"}


def test_the_library_knows_no_command_line() -> None:
    for file in FILES:
        if file.parent.name != "cli":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert "print" not in names, f"{file} prints"
            assert "typer" not in names, f"{file} knows typer"


def texts_of(file: Path) -> list[str]:
    """What a file may say: its strings, without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    ]


def test_the_library_does_not_speak_of_options() -> None:
    """It names its own parameters, as `max_side_px`; the command line makes options of them."""
    option = re.compile(r"(?<![\w-])--[a-z]")
    speaking = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if file.parent.name != "cli"
        # A command that is written out for a shell is no advice on a call.
        for text in texts_of(file)
        if option.search(text) and not re.search(r"`?lightface [a-z]", text)
    }
    assert speaking <= {"training/model_card.py"}  # a card has the command that makes it again


def test_no_file_is_a_place_for_everything() -> None:
    assert {file.stem for file in FILES}.isdisjoint({"utils", "common", "core", "helpers", "misc"})


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    last = body[-1].end_lineno if body else None
    return 0 if last is None else last - body[0].lineno + 1


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_functions_have_fewer_than_50_lines(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {one.name: lines_of(one) for one in functions if lines_of(one) >= 50} == {}
