"""The documentation runs: snippets of every page, doctests of every module, the commands it names."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex

import pytest
from joblib.externals.loky import get_reusable_executor

import skltransfer
from skltransfer import cli
from tests.house.pages import GUIDE, PAGES, README, blocks
from tests.house.test_layers import FLOOR
from tests.paths import PACKAGE, ROOT

MODULES = sorted(module.name for module in pkgutil.walk_packages(skltransfer.__path__, "skltransfer."))
#: Old modules, which hold nothing but names with a FutureWarning.
DEPRECATED = {"cache", "catalog", "runtime", "variants"}
#: Data, and what the user's code does not import.
NOT_API = {"models"}
MOST_LINES, MOST_WORDS = 80, 700


@pytest.fixture
def empty_folder(tmp_path, tmp_path_factory, monkeypatch):
    """Stand in an empty folder; what the user's own folders would get lies elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("MPLBACKEND", "agg")
    get_reusable_executor().shutdown(wait=True)  # workers of other tests, which stand elsewhere
    monkeypatch.chdir(tmp_path)


#: Extras that snippets of a page need, beyond those of the tests.
NEEDS = {"finetune": "torch"}


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_run_as_pasted_from_top_to_bottom(page):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    names = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile("\n" * (block.line - 1) + block.code, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_that_need_more_than_the_tests_install_are_python(page):
    for block in blocks(page, "py"):
        compile(block.code, page.name, "exec")


@pytest.mark.parametrize("name", MODULES)
def test_doctests_of_every_module_pass(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


def commands(page):
    """Return the commands of ours in the bash blocks of a page."""
    lines = [line for block in blocks(page, "bash") for line in block.code.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [re.sub(r"^(python -m )?skltransfer ?", "", p) for p in parts if re.match(r"(python -m )?skltransfer\b", p)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_are_named_exist(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in commands(page):
        assert cli.make_parser().parse_args(shlex.split(command, comments=True))


def test_every_command_is_on_the_page_of_commands():
    page = next(page for page in GUIDE if page.stem == "cli")
    groups = {name: group for name, (_, group) in cli.GROUPS.items()}
    names = [command.name for command in cli.COMMANDS]
    names += [f"{name} {command.name}" for name, group in groups.items() for command in group if not command.hidden]
    assert [name for name in names if not any(command.startswith(name) for command in commands(page))] == []


def test_continuous_integration_runs_the_test_command_of_the_readme():
    assert re.search(r"^pip install .* && python -m pytest$", README.read_text("utf8"), re.MULTILINE)
    assert "-m pytest$" in (ROOT / ".ci" / "run").read_text("utf8")


def test_readme_is_read_in_minutes():
    text = README.read_text("utf8")
    assert (len(text.splitlines()) <= MOST_LINES, len(text.split()) <= MOST_WORDS) == (True, True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text("utf8"))
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_readme_links_every_page():
    assert [page.name for page in GUIDE if f"_docs/{page.name}" not in README.read_text("utf8")] == []


# ---------------------------------------------------------------------------------------------------------------------
# The API reference


def public_modules():
    """Return the modules at the top level of the package that users import."""
    names = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])} - DEPRECATED - NOT_API
    return ["skltransfer", *sorted(f"skltransfer.{name}" for name in names if not name.startswith("_"))]


def public_names(module):
    """Return the names of a module: those of ``__all__``, else the classes and functions that it defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    defined = inspect.getmembers(module, lambda value: getattr(value, "__module__", "") == module.__name__)
    return {name for name, value in defined if not name.startswith("_") and (inspect.isclass(value) or callable(value))}


def listed():
    """Return the names in the API reference, by module."""
    page = next(page for page in GUIDE if page.stem == "api")
    sections = re.split(r"^## `(.+)`$", page.read_text("utf8"), flags=re.MULTILINE)[1:]
    return {
        name: set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }


def test_every_public_module_is_in_the_reference():
    assert list(listed()) == public_modules()


@pytest.mark.parametrize("name", public_modules())
def test_public_names_are_those_of_the_reference(name):
    assert listed()[name] == public_names(importlib.import_module(name))


# ---------------------------------------------------------------------------------------------------------------------
# The picture of the rooms, and the examples


def test_every_room_is_in_the_table_of_contributing():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "CONTRIBUTING.md").read_text("utf8"), re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) == FLOOR.keys() - {"_version", "__main__"}


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_use_public_names_only(path):
    used = re.findall(r"\bskltransfer[\w.]*", "\n".join(re.findall(r"^ *(?:from|import) .*", path.read_text(), re.M)))
    assert [name for name in used if name not in public_modules()] == []
