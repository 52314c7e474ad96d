"""Who agreed to a mapping, and to which one.

Decides when a mapping is approved: the digest of its rules is the one that somebody signed.
An approval is two files beside the mapping's module, kept in its repository: a flat TOML
file with digest, name, role and date, and the document that was signed, so that a change
shows as a difference of lines.

Read :func:`approve` and :func:`assert_approved`.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from attrs import frozen

from syncsdk.errors import ConfigurationError

from .document import digest, document
from .mapper import TypedMapper
from .tracing import name_of

__all__ = ["Approval", "approval", "approve", "assert_approved"]


@frozen
class Approval:
    """What an approval file says.

    Attributes:
        mapping: the names of its file and function.
        digest: of the rules; the mapping's own as it was then.
        document: digest of the document, with its wording, reasons and owner.
        who, role, date, note: who agreed, as what, when, and what else there is to say.
    """

    mapping: str
    digest: str
    document: str
    who: str
    role: str
    date: date
    note: str = ""


def approve(
    mapper: TypedMapper[Any, Any], *, who: str, role: str, date: date, note: str = ""
) -> Path:
    """Write that somebody agrees to a mapping as it is now; return the file's path.

    Raises:
        ConfigurationError: the mapping names no file (``approved=``), or nobody agrees.
    """
    path = _path(mapper)
    if not who.strip() or not role.strip():
        raise ConfigurationError("nobody agrees", remedy="Give who= and role=")
    told = Approval(_name(mapper), mapper.digest, digest(mapper), who, role, date, note)
    lines = [f"{name} = {_toml(getattr(told, name))}\n" for name in Approval.__annotations__]
    path.with_suffix(".md").write_text(document(mapper, "md"), encoding="utf-8")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def approval(mapper: TypedMapper[Any, Any]) -> Approval | None:
    """Return what the mapping's approval file says, or None if there is none.

    Raises:
        ConfigurationError: the mapping names no file, or the file is not an approval.
    """
    path = _path(mapper)
    if not path.exists():
        return None
    try:
        return Approval(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, TypeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path.name} is not an approval ({type(error).__name__})",
            remedy="Write it with `syncsdk approve`",
        ) from error


def assert_approved(mapper: TypedMapper[Any, Any]) -> None:
    """Fail unless the mapping's rules are those that somebody approved; for a test.

    Raises:
        AssertionError: with who approved what, and the lines of the document that differ.
    """
    __tracebackhide__ = True
    told = approval(mapper)
    why = unapproved(mapper)
    if why is not None:
        changed = differences(mapper) if told is not None and told.mapping == _name(mapper) else []
        raise AssertionError("\n".join([why, *(changed or [])]))


def unapproved(mapper: TypedMapper[Any, Any]) -> str | None:
    """Return why a mapping is not what was approved, in a sentence; None if it is.

    Never raises: a report of a run tells it.
    """
    how = "Have it read and run `syncsdk approve`"
    try:
        told = approval(mapper)
    except (ConfigurationError, OSError) as error:
        return f"the approval of {_name(mapper)} cannot be read: {error}"
    if told is None:
        return f"{_name(mapper)} was never approved. {how}"
    if told.mapping != _name(mapper):
        return (
            f"{_path(mapper).name} is the approval of {told.mapping}, and not of {_name(mapper)}. "
            f"{how}"
        )
    if told.digest != mapper.digest:
        return (
            f"{_name(mapper)} is not what {told.who} ({told.role}) approved on {told.date}. {how}"
        )
    return None


def differences(mapper: TypedMapper[Any, Any]) -> list[str] | None:
    """Return the lines of the document that are not as they were approved, after ``-`` or ``+``.

    None if no document was approved.
    """
    path = _path(mapper).with_suffix(".md")
    if not path.exists():
        return None
    before = path.read_text(encoding="utf-8").splitlines()
    after = document(mapper, "md").splitlines()
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def _path(mapper: TypedMapper[Any, Any]) -> Path:
    if mapper.approved is None:
        raise ConfigurationError(
            f"{_name(mapper)} does not say where its approval is kept",
            remedy='Give @mapping(approved="name.approved.toml"), a path from its module',
        )
    return Path(mapper.where.file).parent / mapper.approved


def _name(mapper: TypedMapper[Any, Any]) -> str:
    return name_of(mapper.function)


def _toml(value: str | date) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
