"""Enforces which package may import which, by reading the sources: the layout's arrows are a contract, not a habit.

Every import counts for the arrows, also those in functions and under TYPE_CHECKING. For cycles, and for what a process
really loads, only imports that run when the module is loaded count. The last tests plant violations.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# A module may import modules below one of the named ones; the longest matching left side counts. `jobd` itself is the
# version, which everybody may have.
ARROWS: dict[str, tuple[str, ...]] = {
    "jobd": (),
    "jobd.core": ("jobd.core",),
    "jobd.wire": ("jobd.wire", "jobd.core"),
    # host.pidfd, host.procs, host.usage: both halves read exits from the kernel, processes from /proc and control
    # groups, by the same code, which needs the standard library alone.
    "jobd.keeper": (
        "jobd.keeper",
        "jobd.wire.frames",
        "jobd.wire.plainpack",
        "jobd.wire.grants",
        "jobd.core",
        "jobd.host.pidfd",
        "jobd.host.procs",
        "jobd.host.usage",
        "jobd.host.logstream",
        "jobd.config",
    ),
    "jobd.host": ("jobd.host", "jobd.core"),
    "jobd.store": ("jobd.store", "jobd.core"),
    "jobd.runtime": (
        "jobd.runtime",
        "jobd.core",
        "jobd.host",
        "jobd.store",
        "jobd.wire",
        "jobd.keeper.link",
        "jobd.keeper.handover",
    ),
    "jobd.rpc": ("jobd.rpc", "jobd.core", "jobd.wire", "jobd.runtime", "jobd.host.peer"),
    "jobd.daemon": ("jobd",),
    "jobd.client": ("jobd.client", "jobd._client", "jobd.wire", "jobd.core"),
    "jobd._client": ("jobd._client", "jobd.wire", "jobd.core"),
    "jobd.config": ("jobd.core",),
    "jobd.checkconfig": ("jobd.core", "jobd.host"),
    # Run by the keeper as root, it finds and reads job files as the daemon does.
    "jobd.filegrants": ("jobd.core", "jobd.host", "jobd.wire.grants", "jobd.keeper.files", "jobd.runtime.jobfiles"),
    "jobd.__main__": ("jobd.config", "jobd.checkconfig", "jobd.core", "jobd.keeper"),
    "jobctl": ("jobctl", "jobd.wire", "jobd.core"),
}
# No I/O and no clock: time and bytes come in as arguments.
PURE = ("jobd.core", "jobd.wire")
IMPURE_MODULES = frozenset(
    ("trio", "asyncio", "time", "socket", "_socket", "select", "selectors", "subprocess", "threading", "sqlite3")
)

# The edge of each: making a run id takes the time, and finding a daemon takes a socket.
NOT_PURE = ("jobd.core.ids", "jobd.wire.endpoint", "jobd.wire.granting", "jobd.wire.starting")


class Import(NamedTuple):
    target: str  # a module, ours or not
    line: int
    at_load: bool  # runs when the module is loaded


Sources = Mapping[str, str]  # module name -> text


def read_sources(root: Path = ROOT) -> dict[str, str]:
    found = {}
    for package in ("jobd", "jobctl"):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in {
        n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)
    }


def _targets(node: ast.Import | ast.ImportFrom, module: str, modules: frozenset[str]) -> Iterator[str]:
    """What one statement imports; `from package import name` is the module `package.name` where that is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        is_package = any(other.startswith(module + ".") for other in modules)
        steps = module.split(".") if is_package else module.split(".")[:-1]
        steps = steps[: len(steps) - node.level + 1]
        base = ".".join([*steps, base] if base else steps)
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in modules else base


def imports_of(module: str, sources: Sources) -> list[Import]:
    """All imports of one module, in functions and under TYPE_CHECKING too."""
    return _imports(module, sources[module], frozenset(sources))


@cache  # a module is asked for once for each that loads it
def _imports(module: str, text: str, modules: frozenset[str]) -> list[Import]:
    def walk(nodes: Iterable[ast.AST], at_load: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from (Import(target, node.lineno, at_load) for target in _targets(node, module, modules))
            elif isinstance(node, ast.If) and _is_type_checking(node):
                yield from walk(node.body, False)
                yield from walk(node.orelse, at_load)
            else:
                inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(ast.iter_child_nodes(node), at_load and not inside)

    return list(walk([ast.parse(text)], True))


def _below(module: str, prefix: str) -> bool:
    # `jobd._client` stands for its family of modules, `jobd._client_blocking` and so on.
    return module == prefix or module.startswith((prefix + ".", prefix + "_"))


def broken_arrows(sources: Sources) -> list[str]:
    wrong = []
    for module in sources:
        # `jobd` alone matches only itself: a new module at the top has to be entered above.
        sides = [side for side in ARROWS if _below(module, side) and (side != "jobd" or module == "jobd")]
        if not sides:
            wrong.append(f"{module}: not in ARROWS")
            continue
        allowed = ARROWS[max(sides, key=len)]
        for item in imports_of(module, sources):
            ours = item.target.split(".")[0] in ("jobd", "jobctl")
            if ours and item.target != "jobd" and not any(_below(item.target, prefix) for prefix in allowed):
                wrong.append(f"{module}:{item.line} imports {item.target}")
            pure = module.startswith(PURE) and module not in NOT_PURE
            if pure and item.target.split(".")[0] in IMPURE_MODULES:
                wrong.append(f"{module}:{item.line} is pure, and imports {item.target}")
    return wrong


def loaded_by(module: str, sources: Sources, *, late: bool = False) -> dict[str, str]:
    """Every module that is loaded with `module`, and who loads it; with `late` also what its functions import."""
    found: dict[str, str] = {}
    todo = [(module, "")]
    while todo:
        name, by = todo.pop()
        if name in found:
            continue
        found[name] = by
        if name in sources:
            todo += [(item.target, name) for item in imports_of(name, sources) if item.at_load or late]
            todo += [(name.rpartition(".")[0], name)] if "." in name else []
    return found


def strangers_in_keeper(sources: Sources) -> list[str]:
    """What the keeper's process would load from outside the standard library."""
    wrong = []
    for module in sources:
        if module == "jobd.__main__" or _below(module, "jobd.keeper"):
            wrong += [
                f"{module} loads {name} through {by}"
                for name, by in loaded_by(module, sources).items()
                if name.split(".")[0] not in sys.stdlib_module_names and name not in sources
            ]
    return wrong


def late_imports_in_keeper(sources: Sources) -> list[str]:
    """Imports in the keeper's functions of what is not loaded yet: months later the files may be another version's."""
    loaded = loaded_by("jobd.__main__", sources)
    return [
        f"{module}:{item.line} imports {item.target} late"
        for module in sources
        if _below(module, "jobd.keeper")
        for item in imports_of(module, sources)
        if not item.at_load and item.target not in loaded and not _only_for_types(sources[module], item.line)
    ]


def _only_for_types(text: str, line: int) -> bool:
    return any(
        _is_type_checking(node) and node.lineno < line <= (node.end_lineno or 0)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.If)
    )


def cycles(sources: Sources) -> list[str]:
    """Modules that load themselves again by way of others."""
    edges = {
        name: {item.target for item in imports_of(name, sources) if item.at_load and item.target in sources}
        for name in sources
    }
    wrong = []
    for start in edges:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            name = todo.pop()
            if name == start:
                wrong.append(f"{start} loads itself by way of {', '.join(sorted(seen)) or 'itself'}")
                break
            if name not in seen:
                seen.add(name)
                todo += edges[name]
    return wrong


def test_packages_import_only_along_the_arrows() -> None:
    assert broken_arrows(read_sources()) == []


def test_keeper_loads_the_standard_library_alone() -> None:
    assert strangers_in_keeper(read_sources()) == []


def test_keeper_imports_all_it_will_ever_need_at_start() -> None:
    assert late_imports_in_keeper(read_sources()) == []


def test_jobctl_never_loads_trio() -> None:
    sources = read_sources()
    for module in sources:
        if _below(module, "jobctl"):
            assert "trio" not in loaded_by(module, sources, late=True), module


def test_no_module_level_cycles() -> None:
    assert cycles(read_sources()) == []


def test_package_root_holds_the_version_only() -> None:
    assert imports_of("jobd", read_sources()) == []


PLANTED = {
    "jobd": "__version__ = '0'\n",
    "jobd.core": "",
    "jobd.core.a": "from . import b\n",
    "jobd.core.b": "def f():\n    from jobd.core import a\n",
    "jobd.wire": "",
    "jobd.wire.frames": "",
    "jobd.keeper": "",
    "jobd.keeper.loop": "import os\nfrom jobd.wire import frames\n",
    "jobd.__main__": "from jobd.keeper import loop\n",
    "jobctl": "",
}


def test_checks_find_planted_violations() -> None:
    assert broken_arrows(PLANTED) == cycles(PLANTED) == strangers_in_keeper(PLANTED) == []
    for module, text, expected in [
        ("jobd.core.a", "from ..wire import frames\n", "jobd.core.a:1 imports jobd.wire.frames"),
        ("jobd.core.b", "def f():\n    import jobd.keeper.loop\n", "jobd.core.b:2 imports jobd.keeper.loop"),
        ("jobd.core.b", "import time\n", "jobd.core.b:1 is pure, and imports time"),
        ("jobd.other", "", "jobd.other: not in ARROWS"),
        ("jobd.keeper.loop", "from jobd.wire import messages\n", "jobd.keeper.loop:1 imports jobd.wire"),
    ]:
        assert broken_arrows({**PLANTED, module: text}) == [expected]
    assert strangers_in_keeper({**PLANTED, "jobd.wire.frames": "import msgspec\n"})
    assert late_imports_in_keeper({**PLANTED, "jobd.keeper.loop": "def f():\n    import json\n"})
    assert late_imports_in_keeper({**PLANTED, "jobd.keeper.loop": "import json\ndef f():\n    import json\n"}) == []
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import trio\n"
    assert late_imports_in_keeper({**PLANTED, "jobd.keeper.loop": typed}) == []
    assert "trio" in loaded_by("jobctl", {**PLANTED, "jobctl": "def f():\n    import trio\n"}, late=True)


def test_cycles_count_only_what_runs_at_load() -> None:
    assert cycles({**PLANTED, "jobd.core.b": "from jobd.core import a\n"})
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from jobd.core import a\n"
    assert cycles({**PLANTED, "jobd.core.b": guarded}) == []
