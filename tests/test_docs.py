"""Checks the pages people read and the sizes DESIGN asks for: what a document names has to be there."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from jobctl import completions

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

PAGES = sorted((ROOT / "man").glob("*.[1-8]"))
SOURCES = sorted(
    path
    for folder in ("jobd", "jobctl", "tests", "scripts")
    for path in (ROOT / folder).rglob("*")
    if path.suffix == ".py" or (path.is_file() and re.match(rb"#!.*python", path.read_bytes()[:64]))
)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_page_is_clean_mdoc(page: Path) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed (make tools)")
    found = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert found.returncode == 0


def shared_data() -> dict[str, str]:
    """What the wheel puts below the prefix, and where."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    data: dict[str, str] = build["targets"]["wheel"]["shared-data"]
    return data


def test_every_man_page_is_in_the_wheel() -> None:
    pages = {source: target for source, target in shared_data().items() if source.startswith("man/")}
    assert pages == {f"man/{page.name}": f"share/man/man{page.suffix[1:]}/{page.name}" for page in PAGES}


def test_every_completion_file_is_in_the_wheel_and_installed_by_make() -> None:
    found = {source: target for source, target in shared_data().items() if source.startswith("jobctl/completions/")}
    assert set(found) == {f"jobctl/completions/{name}" for name in completions.FILES.values()}
    rules = re.findall(r"^\tinstall -Dm644 (\S+) \$\(PREFIX\)/(\S+)$", MAKEFILE, re.MULTILINE)
    assert dict(rules) == found


def test_make_uninstall_removes_what_make_install_made(tmp_path: Path) -> None:
    made = [target for _, target in re.findall(r"install -Dm644 (\S+) \$\(PREFIX\)/(\S+)$", MAKEFILE, re.MULTILINE)]
    made += [f"share/man/man{page.suffix[1:]}/{page.name}" for page in PAGES]
    made += ["bin/jobd", "bin/jobctl", "bin/jobd-stdio-bridge", "lib/jobd/pyvenv.cfg", "bin/another"]
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "-s", "uninstall", f"PREFIX={tmp_path}"], cwd=ROOT, check=True, timeout=60)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["another"]


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile"])
def test_documents_name_only_make_targets_that_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?:^ {4}|`|# {3})make ([a-z]+)", text, re.MULTILINE))
    assert named <= make_targets()


def test_readme_begins_with_its_two_commands() -> None:
    commands = re.findall(r"^ {4}(\S[^#\n]*)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [command.strip() for command in commands[:2]] == ["make demo", "make test"]


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md"])
def test_documents_name_only_files_that_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:jobd|jobctl|man|tests|scripts|systemd)/[\w./-]*)`", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = {f"line {node.lineno}, {node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}
