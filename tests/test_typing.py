"""What type checkers say of the library and its examples: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[1]
CHECKED = ["syncsdk", "docs/examples"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPO, capture_output=True, text=True, timeout=300
    )


def test_mypy_has_nothing_to_say() -> None:
    done = run("mypy", "--strict", "--no-error-summary", *CHECKED)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pyright_has_nothing_to_say() -> None:
    done = run("pyright", "--pythonpath", sys.executable, "--outputjson", *CHECKED)
    told = json.loads(done.stdout)
    found = [
        f"{item['file']}:{item['range']['start']['line'] + 1}: {item['message']}"
        for item in told["generalDiagnostics"]
    ]

    assert found == []
    assert told["summary"]["filesAnalyzed"] > 10
