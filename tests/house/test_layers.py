"""The picture of the architecture: imports only go down, rooms on one floor do not meet, one library per room."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.paths import PACKAGE as ROOT

#: From the bottom; `_version` lies below everything.
FLOORS = [
    ["errors", "_trusted", "_version"],
    ["_versions"],
    ["_deprecated", "labels", "listing", "nested", "process"],
    ["cards", "datasets", "settings", "sources"],
    ["hub", "graph", "runtime", "modalities", "samples", "cache", "columns", "progress", "training"],
    ["inspection", "trial"],
    ["registry", "plan"],
    ["catalog", "stream"],
    ["golden"],
    ["quantization"],
    ["planning", "convert"],
    ["judge"],
    ["demo", "profile"],
    ["embedder", "heads", "adapt"],
    ["detection", "export", "finetune", "report", "scoring", "selection", "serving", "testing"],
    ["cli"],
    ["__main__"],
]
#: Modules of 0.1 whose names moved; they go in 0.3.
GONE = ["cache", "catalog", "runtime", "variants"]
#: What a room may import besides the standard library, numpy and the rooms below it.
LIBRARIES = {
    "hub": {"huggingface_hub"},
    "graph": {"onnx", "google"},
    "runtime": {"onnxruntime", "joblib"},
    "modalities": {"PIL", "tokenizers"},
    "training": {"torch"},
    "datasets": {"sklearn"},
    "quantization": {"onnxruntime"},
    "embedder": {"sklearn"},
    "finetune": {"sklearn", "onnx", "torch"},
    "heads": {"sklearn"},
    "adapt": {"sklearn"},
    "export": {"sklearn", "onnx", "google"},
    "progress": {"sklearn"},
    "detection": {"sklearn", "PIL"},
    "testing": {"onnx", "tokenizers"},
    "judge": {"sklearn", "scipy", "joblib", "threadpoolctl"},
    "demo": {"sklearn"},
    "selection": {"sklearn"},
    "scoring": {"sklearn", "joblib", "threadpoolctl"},
    "serving": {"sklearn"},
    "report": {"sklearn", "matplotlib", "PIL", "threadpoolctl"},
}
NUMPY_FREE = {"errors", "cards", "hub", "cli", "registry", "process", "listing", "sources"}
#: Public rooms that know nothing of ours but errors and labels: they work with rows of any origin.
ALONE = {"heads", "adapt"}
STARTS_THREADS = {"stream", "runtime", "cache", "scoring"}
#: Models, rows, checkpoints, pictures where the user says, the folder of a converted model, parts of a job, and graphs
#: to test with.
WRITES_FILES = {
    "hub",
    "cache",
    "detection",
    "training",
    "report",
    "convert",
    "export",
    "finetune",
    "quantization",
    "scoring",
    "testing",
}

#: Lines of a file, tests and recipes included.
LONGEST = 400

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
OTHERS = [ROOT / "__init__.py", ROOT / "_engine" / "__init__.py", *(ROOT / f"{name}.py" for name in GONE)]
FILES = sorted(path for path in ROOT.rglob("*.py") if path not in OTHERS)
TREES = {path: ast.parse(path.read_text("utf8")) for path in FILES}


def room(path: Path) -> str:
    """Name of the room a file lies in; those of the private wing have no prefix."""
    parts = [part for part in path.relative_to(ROOT).parts if part != "_engine"]
    return parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def walk(tree: ast.AST):
    """Walk a tree, leaving out what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if not is_for_types_only(node):
            yield node
            yield from walk(node)


def imported(path: Path) -> set[str]:
    """Modules a file imports, those of the package as ``skltransfer.room``, its face as ``skltransfer.embedder``."""
    names = set()
    for node in walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            bare = node.module in ("skltransfer", "skltransfer._engine")
            names |= {_room_of(a.name) for a in node.names} if bare else {node.module}
    return {name.replace("skltransfer._engine.", "skltransfer.") for name in names}


def _room_of(name: str) -> str:
    return f"skltransfer.{name if name in FLOOR else 'embedder'}"


def rooms_used(path: Path) -> set[str]:
    ours = {module.split(".")[1] for module in imported(path) if module.startswith("skltransfer.")}
    return ours - {room(path), "models", "data"}


def calls(path: Path) -> set[str]:
    """Names of everything a file calls, without what stands before the dot."""
    functions = [node.func for node in ast.walk(TREES[path]) if isinstance(node, ast.Call)]
    return {
        f.attr if isinstance(f, ast.Attribute) else f.id for f in functions if isinstance(f, (ast.Attribute, ast.Name))
    }


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_room_has_its_floor(path):
    assert room(path) in FLOOR


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_only_go_down(path):
    assert [other for other in sorted(rooms_used(path)) if FLOOR[other] >= FLOOR[room(path)]] == []


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in ALONE], ids=name)
def test_rooms_of_rows_import_nothing_of_the_package_but_the_cellar(path):
    assert rooms_used(path) <= {"errors", "labels"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_room_imports_only_its_own_library(path):
    libraries = {module.partition(".")[0] for module in imported(path)} - set(sys.stdlib_module_names) - {"skltransfer"}
    allowed = LIBRARIES.get(room(path), set()) | (set() if room(path) in NUMPY_FREE else {"numpy"})
    assert libraries - allowed == set()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_private_names_of_a_room_stay_in_it(path):
    taken = [
        f"{node.module}.{alias.name}"
        for node in walk(TREES[path])
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skltransfer")
        for alias in node.names
        if re.match("_(?!_)", alias.name)
        and node.module.replace("._engine", "").split(".")[1:2] not in ([], [room(path)])
    ]
    assert taken == []


HEAVY = {"onnx", "onnxruntime", "PIL", "joblib", "matplotlib", "google", "torch", "tqdm"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_heavy_libraries_are_imported_inside_functions(path):
    top = [node for node in TREES[path].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} & HEAVY == set()


@pytest.mark.parametrize("path", [p for p in FILES if room(p) not in STARTS_THREADS], ids=name)
def test_threads_start_in_few_rooms_only(path):
    starters = {
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
        "Thread",
        "Timer",
        "ThreadPool",
        "Pool",
        "Parallel",
        "Process",
    }
    assert calls(path) & starters == set()


WRITERS = {"write_text", "write_bytes", "mkdir", "makedirs", "replace_file", "rename", "unlink", "remove", "mkstemp"}
WRITERS |= {"rmtree", "rmdir", "touch", "symlink_to", "savez", "savefig", "chmod", "mkdtemp", "NamedTemporaryFile"}


def opens_for_writing(path: Path) -> list[int]:
    """Lines of calls of ``open`` with a mode that writes."""
    opened = [
        n for n in ast.walk(TREES[path]) if isinstance(n, ast.Call) and "open" in ast.unparse(n.func).split(".")[-1]
    ]
    modes = [
        (call.lineno, value.value)
        for call in opened
        for value in [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    ]
    return [line for line, mode in modes if set(mode) <= set("rwxab+t") and set(mode) & set("wxa+")]


@pytest.mark.parametrize("path", [p for p in FILES if room(p) not in WRITES_FILES], ids=name)
def test_files_are_written_in_few_rooms_only(path):
    assert (calls(path) & WRITERS, opens_for_writing(path)) == (set(), [])


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_pickled_evaluated_or_fetched(path):
    modules = {module.partition(".")[0] for module in imported(path)}
    assert modules & {"pickle", "marshal", "shelve", "urllib", "http", "socket", "requests"} == set()
    bare = {
        node.func.id for node in ast.walk(TREES[path]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert bare & {"eval", "exec", "__import__"} == set()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_room_says_what_it_owns_and_is_of_a_readable_length(path):
    assert ast.get_docstring(TREES[path])
    assert len(path.read_text("utf8").splitlines()) <= LONGEST


def dotted(path: Path) -> str:
    parts = ("skltransfer", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_circle_of_files_not_even_for_types():
    files = {dotted(path): path for path in ROOT.rglob("*.py")}
    uses: dict[str, set[str]] = {}
    for name, path in files.items():
        found = [n for n in ast.walk(ast.parse(path.read_text("utf8"))) if isinstance(n, ast.ImportFrom) and n.module]
        exact = {
            f"{n.module}.{a.name}" if f"{n.module}.{a.name}" in files else n.module for n in found for a in n.names
        }
        uses[name] = exact & files.keys() - {name}
    left = dict(uses)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert sorted(left) == []


EVERY_FILE = [
    path for part in ("skltransfer", "tests", "examples", "models") for path in (ROOT.parent / part).rglob("*.py")
]


def test_no_file_anywhere_is_too_long():
    lengths = {str(path.relative_to(ROOT.parent)): len(path.read_text("utf8").splitlines()) for path in EVERY_FILE}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("path", [p for p in FILES if room(p) == "stream"], ids=name)
def test_no_class_of_the_stream_is_long(path):
    classes = [node for node in TREES[path].body if isinstance(node, ast.ClassDef)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in classes}
    assert {name: length for name, length in lengths.items() if length > 100} == {}


@pytest.mark.parametrize("path", [p for p in FILES if room(p) == "runtime"], ids=name)
def test_no_file_of_the_runtime_is_long(path):
    assert len(path.read_text("utf8").splitlines()) <= 200


def test_the_one_call_of_the_stream_takes_few_parameters():
    import inspect

    from skltransfer._engine import stream

    assert len(inspect.signature(stream.embed).parameters) <= 6


def test_every_package_is_installed():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT.parent / "setup.cfg")
    folders = {
        "skltransfer" + "".join(f".{p}" for p in path.parent.relative_to(ROOT).parts)
        for path in ROOT.rglob("__init__.py")
    }
    assert set(setup["options"]["packages"].split()) == folders | {"skltransfer.models"}
