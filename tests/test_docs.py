"""The documents tell the truth: their code runs, prints what they show, and their links lead on."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@frozen
class Block:
    """A fenced block: its language, its text, and the line on which the text begins."""

    language: str
    text: str
    line: int


def blocks(document: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document in their order."""
    fence = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    for found in fence.finditer(document):
        line = document.count("\n", 0, found.start(2)) + 1
        yield Block(found[1], dedent(found[2]), line)


def told(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def run(document: Path, module: ModuleType) -> int:
    """Run the Python blocks of a document in one namespace; return how many there were.

    If the next block is ``text``, it is what the Python block prints.
    """
    found = list(blocks(document.read_text(encoding="utf-8")))
    ran = 0
    for at, block in enumerate(found):
        if block.language != "python":
            continue
        ran += 1
        code = compile("\n" * (block.line - 1) + block.text, str(document), "exec")
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, module.__dict__)
        for shown in found[at + 1 : at + 2]:
            if shown.language == "text":
                assert told(printed.getvalue()) == told(shown.text), f"line {shown.line}"
    return ran


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A namespace to run in, as a script has it, with a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)
    return module


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_block_runs_and_prints_what_is_shown(
    document: Path, module: ModuleType
) -> None:
    run(document, module)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```$", "", document.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document

        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(document: Path) -> set[str]:
    """Return the names that a heading gets: lower case, hyphens for blanks, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_and_how_to_have_code_to_run(module: ModuleType) -> None:
    assert run(ROOT / "README.md", module) >= 2
    assert run(ROOT / "docs" / "how-to" / "write-a-connector.md", module) >= 3


@pytest.mark.parametrize(
    "text",
    [
        "```python\nraise ValueError\n```\n",
        "```python\nprint(1)\n```\nprints:\n```text\n2\n```\n",
        "1. In a list:\n   ```python\n   assert False\n   ```\n",
    ],
)
def test_a_document_that_lies_is_found_out(text: str, tmp_path: Path, module: ModuleType) -> None:
    (tmp_path / "lies.md").write_text(text, encoding="utf-8")

    with pytest.raises((ValueError, AssertionError)):
        run(tmp_path / "lies.md", module)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_promises_exactly_once(document: Path) -> None:
    text = " ".join(document.read_text("utf-8").lower().split())

    for place in re.finditer(r"exactly[ -]once", text):
        before = text[max(0, place.start() - 60) : place.start()]
        assert re.search(r"\b(not|no|never|nobody)\b", before), before
