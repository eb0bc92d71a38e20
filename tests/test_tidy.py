"""The tree stays readable: sizes, dead modules, a test file for each module, words, links, forbidden calls."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(p for top in ("ring", "objstore") for p in (ROOT / top).rglob("*.py"))
MODULE_LINES = 600
FUNCTION_LINES = 60
# Modules that only declare (Protocols, structs, errors) or only assemble; conformance, system or sim tests cover them.
NO_UNIT_TEST = {
    "objstore/cluster/api.py",
    "objstore/node/engine/api.py",
    "objstore/objects/api.py",
    "objstore/wire/messages.py",
    "objstore/runtime/world.py",
}
BANNED = re.compile(
    r"\bpickle\b|\b(import|from) shelve\b|\bshelve\.|\b(import|from) marshal\b|\bmarshal\.|yaml\.load\(|\beval\(|\bexec\(|shell=True"
)
WORDS = {r"\btmo\b": "timeout", r"(?<!qemu-)\butils\b": "a real name", r"\bdata2\b": "a real name"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_docstring_only(tree: ast.Module) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_is_short_and_its_functions_are_too(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES, f"{name(path)}: over {MODULE_LINES} lines; one idea each"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{name(path)}:{node.lineno} {node.name}: {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_has_a_unit_test_file_of_its_name(path: Path) -> None:
    relative = path.relative_to(ROOT)
    if path.name == "__init__.py" or str(relative) in NO_UNIT_TEST or is_docstring_only(ast.parse(path.read_text())):
        return
    mirrored = relative.relative_to("objstore") if relative.parts[0] == "objstore" else relative
    expected = ROOT / "tests" / "unit" / mirrored.parent / f"test_{mirrored.name}"
    assert expected.exists(), f"{relative} has no {expected.relative_to(ROOT)}"


def test_no_module_is_dead() -> None:
    imported: set[str] = set()
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
                imported.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(("objstore.", "ring.")):
                imported.add(node.value.partition(":")[0])
    entry_points = {"objstore.cli.main", "ring.cli"}
    for path in SOURCES:
        if path.name in ("__init__.py", "__main__.py") or is_docstring_only(ast.parse(path.read_text())):
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert module in imported | entry_points, f"{module} is imported by nothing"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_dangerous_call_and_no_banned_word(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert not BANNED.search(line), f"{name(path)}:{number}: {line.strip()}"
        for word, better in WORDS.items():
            assert not re.search(word, line), f"{name(path)}:{number}: say {better}"


def test_every_suppression_gives_its_reason() -> None:
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.search(r"#\s*(noqa|type: ignore)(:\s*[A-Z0-9, ]+|\[[a-z0-9-, ]+\])?(.*)", line)
            assert not found or len(found.group(3).strip()) > 8, f"{name(path)}:{number}: a suppression without its reason"


def test_digests_and_signatures_are_compared_in_constant_time() -> None:
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not re.search(r"(signature|hmac\w*)\s*[!=]=\s*\w", line), f"{name(path)}:{number}: use hmac.compare_digest"


def test_every_link_in_the_documents_resolves() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (document.parent / target).exists(), f"{name(document)} links to {target}, which is not there"


def test_the_repository_speaks_of_the_project_alone() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    foreign = re.compile(r"(^|[^A-Za-z0-9_./-])/(?:wo" + r"rk|root|home)/[a-z]")
    for entry in listed:
        path = ROOT / entry
        if entry and path.is_file() and path.suffix in {".py", ".md", ".toml", ".sh", ""}:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                assert not foreign.search(line), f"{entry}:{number}: a path of one machine: {line.strip()}"
