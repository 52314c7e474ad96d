"""The documents tell the truth: their code runs, prints what they show, and their links lead on.

A tutorial is followed as its reader would, block by block in an empty directory:
``python title="shop.py"`` writes a file and ``diff title="shop.py"`` changes one, where the
text before the block names it too, as GitHub does not show titles; ``console`` holds
``$ command`` lines, each with what it prints; any other block is as in all documents, or a
fault. A command exits with 0, or ``$ echo $?`` comes next. In what is shown, ``...`` on a
line of its own stands for any lines, and ``…`` for any part of a line.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@frozen
class Block:
    """A fenced block: its language, the file that it is, and the line on which its text begins."""

    language: str
    title: str
    text: str
    line: int
    before: str


def blocks(document: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document in their order, each with the prose before it."""
    fence = re.compile(r"^ *```(\w*)([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    end = 0
    for found in fence.finditer(document):
        line = document.count("\n", 0, found.start(3)) + 1
        title = "".join(re.findall(r'title="(.*?)"', found[2]))
        yield Block(found[1], title, dedent(found[3]), line, document[end : found.start()])
        end = found.end()


def told(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def run(document: Path, module: ModuleType) -> int:
    """Run the Python blocks of a document in one namespace; return how many there were.

    If the next block is ``text``, it is what the Python block prints. The other blocks of a
    tutorial are followed, in their place.
    """
    is_tutorial = document.parent.name == "tutorial"
    ran, printed = 0, None
    for block in blocks(document.read_text(encoding="utf-8")):
        if is_tutorial and block.title:
            printed = None
            write(block)
        elif block.language == "python":
            ran, printed = ran + 1, executed(document, block, module)
        elif block.language == "text" and printed is not None:
            assert told(printed) == told(block.text), f"line {block.line}"
            printed = None
        else:
            printed = None
            if is_tutorial:
                enter(block)
    return ran


def executed(document: Path, block: Block, module: ModuleType) -> str:
    """Run a block of Python; return what it prints."""
    code = compile("\n" * (block.line - 1) + block.text, str(document), "exec")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(code, module.__dict__)
    return printed.getvalue()


def write(block: Block) -> None:
    """Write the file that a block is, or change it as a block of ``diff`` says."""
    assert f"`{block.title}`" in block.before, f"line {block.line}: readers do not see the title"
    path, text = Path(block.title), block.text
    if block.language == "diff":
        text = path.read_text(encoding="utf-8")
        for hunk in re.split(r"^@@.*\n", block.text, flags=re.MULTILINE):
            lines = hunk.splitlines(keepends=True)
            assert {line[0] for line in lines} <= {" ", "-", "+"}, f"line {block.line}"
            old, new = ("".join(it[1:] for it in lines if it[0] in kept) for kept in (" -", " +"))
            assert text.count(old) == 1, f"line {block.line}: to be found once\n{old}"
            text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


ASK = "echo $?"
"""After a command that may fail: prints its exit code."""


def enter(block: Block) -> None:
    """Run the commands of a block in a shell; each prints what stands below it."""
    assert block.language == "console", f"line {block.line} is neither run nor written"
    first, *entries = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert first == "", f"line {block.line} is no command"
    commands = [entry.partition("\n") for entry in entries]
    code = 0
    for (command, _, shown), (following, _, _) in pairwise([*commands, ("", "", "")]):
        printed = f"{code}\n"
        if command != ASK:
            ran = subprocess.run(
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
                encoding="utf-8",
            )
            code, printed = ran.returncode, ran.stdout
            assert following == ASK or code == 0, f"{command} exits with {code}\n{printed}"
        pattern = "".join(
            r"(.*\n)*" if line == "..." else re.escape(line).replace("…", ".*") + "\n"
            for line in told(shown)
        )
        lines = "".join(f"{line}\n" for line in told(printed))
        assert re.fullmatch(pattern, lines), f"line {block.line}: {command}\n{printed}"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A namespace to run in, as a script has it, with a working directory of its own.

    In its shell ``syncsdk`` is this checkout and ``python`` the interpreter of the suite,
    whatever is installed; nothing that is printed depends on a terminal.
    """
    for name, arguments in COMMANDS.items():
        shim = tmp_path / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        shim.chmod(0o755)
    for name, value in {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file that is changed twice in a second
        "PYTHONUTF8": "1",
        "PYTHONWARNINGS": "ignore::UserWarning:argparse",  # 3.13.0 warns of what pytest does
        "PYTEST_ADDOPTS": "--color=no",
        "COLUMNS": "80",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    module = ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)
    return module


COMMANDS = {"python": "", "syncsdk": "-P -m syncsdk.cli", "pytest": "-P -m pytest"}


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
@pytest.mark.parametrize("folder", ["how-to", "tutorial"])
def test_a_document_that_lies_is_found_out(
    text: str, folder: str, tmp_path: Path, module: ModuleType
) -> None:
    with pytest.raises((ValueError, AssertionError)):
        run(written(tmp_path / folder / "lies.md", text), module)


HONEST = """
`a.py` says hello:
```python title="a.py"
import sys
print("hello", sys.version)
print("to you\\n\\nall")
```
```console
$ python a.py
hello 3.…
...
all
$ true
$ python a.py | grep nobody
$ echo $?
1
```
From now on `a.py` is short, and fails:
```diff title="a.py"
-import sys
-print("hello", sys.version)
+print("hello")
@@
-print("to you\\n\\nall")
+raise SystemExit(3)
```
```console
$ python a.py
hello
$ echo $?
3
```
```python
from pathlib import Path
print(Path("a.py").read_text())
```
```text
print("hello")
raise SystemExit(3)
```
"""


def test_a_tutorial_is_followed_in_its_order(tmp_path: Path, module: ModuleType) -> None:
    assert run(written(tmp_path / "tutorial" / "honest.md", HONEST), module) == 1
    assert os.listdir() == ["a.py"]


@pytest.mark.parametrize(
    ("truth", "lie"),
    [
        ("hello 3.…\n", "hello 2.…\n"),
        ("hello 3.…\n", "hello 3.\n"),
        ("hello 3.…\n...\nall", "hello 3.…all"),
        ("...\nall", "...\nll"),
        ("...\nall\n", "...\n\nall\nall\n"),
        ("$ true\n", "$ true\ntrue\n"),
        ("```console\n$", "```console\nhello\n$"),
        ("$ true\n", "$ false\n"),
        ("$ true\n", "$ echo true\n"),
        ("$ echo $?\n1\n", "$ echo $?\n0\n"),
        ("$ echo $?\n1\n", ""),
        ("$ echo $?\n3\n", ""),
        ("`a.py` says", "It says"),
        ("`a.py` is short", "It is short"),
        ('print("hello", sys', 'print("bye", sys'),
        ('-print("hello", sys', '-print("bye", sys'),
        ("-import sys\n", "-import s\n"),
        ("-import sys\n", "+import sys\n"),
        ("-import sys\n", "import sys\n"),
        ("-import sys\n", "@ a hunk\n-import sys\n"),
        ("-import sys\n", "-nobody wrote this\n@@\n-import sys\n"),
        ('+print("hello")\n', '+print("bye")\n'),
        ('```text\nprint("hello")', '```text\nprint("bye")'),
        ("```text", "```"),
        ("```text", "```console\n$ true\n```\n```text"),
        ("```text", "```json"),
        ("```text", '```text\nprint("hello")\nraise SystemExit(3)\n```\n```text'),
    ],
)
def test_a_tutorial_that_lies_is_found_out(
    truth: str, lie: str, tmp_path: Path, module: ModuleType
) -> None:
    assert HONEST.count(truth)

    with pytest.raises(AssertionError):
        run(written(tmp_path / "tutorial" / "lies.md", HONEST.replace(truth, lie, 1)), module)


def test_a_tutorial_tells_of_this_checkout(tmp_path: Path, module: ModuleType) -> None:
    text = f"""
```console
$ python -c "import sys, syncsdk; print(sys.executable, syncsdk.__file__, sep='\\n')"
{sys.executable}
{ROOT / "syncsdk" / "__init__.py"}
$ syncsdk document nowhere.py:nothing --traceback
...
  File "{ROOT / "syncsdk" / "cli.py"}", line …
...
$ echo $?
2
$ pytest --version
pytest {pytest.__version__}
```
"""
    run(written(tmp_path / "tutorial" / "where.md", text), module)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_promises_exactly_once(document: Path) -> None:
    text = " ".join(document.read_text("utf-8").lower().split())

    for place in re.finditer(r"exactly[ -]once", text):
        before = text[max(0, place.start() - 60) : place.start()]
        assert re.search(r"\b(not|no|never|nobody)\b", before), before
