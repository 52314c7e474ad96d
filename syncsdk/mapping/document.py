"""A mapping's document: what a business reader reads and signs.

Decides how the words of a mapping look as Markdown, CSV and HTML. Leaves the words to
``words``, and what stands where to ``sheet``.

Read :func:`document`, then the three formats.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs
from attrs import evolve

from syncsdk.errors import ConfigurationError

from .sheet import Line, Sheet, Table, digest, rows
from .words import REFUSED

if TYPE_CHECKING:
    from .mapper import TypedMapper

__all__ = ["Line", "Sheet", "Table", "digest", "document", "rows"]


def document(
    mapper: TypedMapper[Any, Any],
    format: Literal["md", "csv", "html"],
    *,
    examples: Sequence[Any] = (),
    date: datetime.date | None = None,
) -> str:
    """Return the document of a mapping: always the same text for the same arguments.

    Args:
        mapper: the mapping.
        format: Markdown with tables, CSV as RFC 4180 has it, or one HTML file without
            scripts and references.
        examples: records of the source; what becomes of them stands beside the rules,
            values of sensitive fields masked.
        date: of the document; none is shown without it.

    Raises:
        ConfigurationError: there is no such format.
    """
    if format not in _FORMATS:
        raise ConfigurationError(f"there is no format {format!r}", remedy="Use md, csv or html")
    sheet = rows(mapper, examples=examples)
    more = {"Document digest": digest(mapper)} | ({"Date": date.isoformat()} if date else {})
    return _FORMATS[format](evolve(sheet, head={**sheet.head, **more}))


# -- Formats ---------------------------------------------------------------------------

_Cell: TypeAlias = Sequence[tuple[str, str, str]]
"""Paragraphs: what they are ("code" for names of code), a label or "", and the text."""
_Row: TypeAlias = tuple[str, Sequence[_Cell]]
"""What the row is ("lossy", "inner"), and its cells."""
_COLUMNS: Final = [its.name for its in attrs.fields(Line)]
_READ: Final = (
    "Refused: nothing of the record is sent. It is kept with the reason until it is mended.",
    "Absent: the record has no such field. Null: the field holds no value. Blank: it holds no "
    "text, or spaces only.",
    "Text is cleaned first: spaces at both ends and invisible characters are removed. A cut never "
    "parts a letter from its accent, or an emoji that is joined of several; where nothing is left, "
    "the record is refused.",
)


def _tables(sheet: Sheet) -> Iterator[tuple[str, str, str, Sequence[str], list[_Row]]]:
    """Yield kind, title, note, heads and rows of each table, for Markdown and HTML."""
    found: list[_Row] = []
    for line in sheet.lines:
        ends: dict[str, list[str]] = {}
        for name in _COLUMNS[7:13]:
            ends.setdefault(getattr(line, name), []).append(name.replace("_", " "))
        ends.pop("", None)
        mark = f"{'inner ' * ('.' in line.number)}{'lossy' * bool(line.lost)}"
        found.append((mark, [
            [("number", "", line.number)],
            [("code", "", line.destination_field), ("", "", line.meaning), ("note", "", line.type)],
            [("code", "", line.source_path), ("note", "", line.source_meaning)],
            [("", "", line.rule), ("example", "e.g.", line.example),
             ("note", "", f"Id {line.rule_id}")],
            [("no" if end == REFUSED else "yes", ", ".join(on), end) for end, on in ends.items()],
            [("lost", "▲ Lost", line.lost), ("", "", line.why)],
        ]))  # fmt: skip
    heads = ["No.", "Destination", "Source", "Rule", "What does not fit", "Lost, and why"]
    yield "fields", "Fields", "", heads, found
    for each in sheet.tables:
        codes = ["code" if head == "source path" else "" for head in each.heads]
        told: list[_Row] = [
            ("", [[(code, "", text)] for code, text in zip(codes, row, strict=True)])
            for row in each.rows
        ]
        yield "beside", each.title, each.note, [head.capitalize() for head in each.heads], told
    note = f"Of the document with the digest {sheet.head['Document digest']}."
    yield (
        "signatures",
        "Signatures",
        note,
        ["Name", "Role", "Date", "Signature"],
        [("", [()] * 4)] * 3,
    )


def _csv(sheet: Sheet) -> str:
    told: list[tuple[str, dict[str, str]]] = [("field", attrs.asdict(line)) for line in sheet.lines]
    for each in sheet.tables:
        names = [head.replace(" ", "_") for head in each.heads]
        told += [(each.title.lower(), dict(zip(names, row, strict=True))) for row in each.rows]
        told += [(each.title.lower(), {"rule": each.note})] if each.note else []
    about = {"Title": sheet.title, "Description": sheet.description, **sheet.head}
    told += [
        ("about", {"destination_field": name, "meaning": fact}) for name, fact in about.items()
    ]
    columns = [*_COLUMNS, "source_option", "destination_option", "relation", "owner"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["kind", *(name.replace("_", " ") for name in columns)])
    for kind, cells in told:
        row = [kind, *((cells | {"owner": sheet.head["Owner"]}).get(name, "") for name in columns)]
        # A spreadsheet would run such a cell as a formula.
        writer.writerow(f"'{cell}" if cell[:1] in set("=+-@\t\r\n") else cell for cell in row)
    return out.getvalue()


def _markdown(sheet: Sheet) -> str:
    def safe(text: str) -> str:
        for mark in "\\`*_[]|<>~#$":
            text = text.replace(mark, f"\\{mark}")
        return "<br>".join(text.replace("&", "&amp;").splitlines())

    def paragraph(kind: str, label: str, text: str) -> str:
        if kind == "code" and "`" not in text:
            return "<br>".join(f"`{line}`" for line in text.replace("|", "\\|").splitlines())
        return f"{safe(label)}: {safe(text)}" if label else safe(text)

    def table(heads: Sequence[str], found: Sequence[_Row]) -> str:
        lines = [heads, ["---"] * len(heads)]
        for _, row in found:
            cells = [[paragraph(*each) for each in cell if each[2]] for cell in row]
            lines.append(["<br>".join(cell) for cell in cells])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    about = [("", [[("", "", name)], [("", "", fact)]]) for name, fact in sheet.head.items()]
    parts = [f"# {safe(sheet.title)}", safe(sheet.description), table(["About", ""], about)]
    for _, title, note, heads, found in _tables(sheet):
        parts += [f"## {safe(title)}", safe(note), table(heads, found)]
    return "\n\n".join(filter(None, [*parts, "## How to read it", *map(safe, _READ)])) + "\n"


def _html(sheet: Sheet) -> str:
    def paragraph(kind: str, label: str, text: str) -> str:
        mark, told = (f"<b>{escape(label)}</b> " if label else ""), escape(text)
        if kind == "code":  # A long name may be broken at its points.
            told = told.replace(".", ".<wbr>")
            return "".join(f"<code>{line}</code>" for line in told.splitlines())
        return f'<p class="{kind}">{mark}<span>{"<br>".join(told.splitlines())}</span></p>'

    def table(kind: str, title: str, note: str, heads: Sequence[str], found: Sequence[_Row]) -> str:
        first, body = {"fields": 1, "beside": 0}.get(kind), ""
        for mark, row in found:
            body += f'<tr class="{mark}">'
            for at, (head, cell) in enumerate(zip(heads, row, strict=True)):
                tag = 'th scope="row"' if at == first else "td"
                inner = "".join(paragraph(*each) for each in cell if each[2])
                body += f'<{tag} data-head="{escape(head)}">{inner}</{tag[:2]}>'
            body += "</tr>\n"
        names = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
        told = {"title": escape(title), "note": escape(note)}
        return _TABLE.format(kind=kind, **told, heads=names, body=body)

    about = [f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in sheet.head.items()]
    return _PAGE.format(
        style=_STYLE,
        title=escape(sheet.title),
        description=escape(sheet.description),
        fields=len(sheet.lines),
        lossy=sum(bool(line.lost) for line in sheet.lines),
        about="".join(f"<div>{each}</div>" for each in about),
        tables="".join(table(*each) for each in _tables(sheet)),
        read="".join(f"<p>{escape(each)}</p>" for each in _READ),
    )


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style></head>
<body><header><p class="eyebrow">Mapping for signature</p>
<h1>{title}</h1>
<p>{description}</p>
<p class="counts">{fields} fields. <b>▲ Something is lost</b> in {lossy} of them.</p>
<dl>{about}</dl></header>
<main>{tables}</main>
<footer><h2>How to read it</h2>{read}</footer></body></html>
"""
_TABLE: Final = """<section class="{kind}"><table>
<caption><h2>{title}</h2><p>{note}</p></caption>
<thead><tr>{heads}</tr></thead>
<tbody>{body}</tbody></table></section>
"""
_STYLE: Final = """
:root{--paper:#fff;--ink:#17212b;--soft:#5b6773;--hair:#dde3e8;--blue:#17496b;--rust:#96390f;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--serif:ui-serif,Charter,"Iowan Old Style",Georgia,serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,monospace}
*{box-sizing:border-box;margin:0}
body{max-width:96rem;margin:auto;padding:4.5rem 3.5rem;background:var(--paper);color:var(--ink);
font:400 .9375rem/1.5 var(--sans);font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1{max-width:26ch;margin:.75rem 0 1.25rem;font:400 2.75rem/1.12 var(--serif);letter-spacing:-.015em}
h2{font:400 1.625rem/1.25 var(--serif)}
code{display:block;font:.84375rem/1.6 var(--mono)}
section,footer{margin-top:4.5rem}
footer{max-width:80ch;font-size:.875rem}
footer h2{color:var(--ink);margin-bottom:.75rem}
header>p{max-width:66ch}
.counts{margin:1.25rem 0 2.5rem}
.counts b,.lost b{color:var(--rust)}
.eyebrow,thead th,dt,td::before{font-size:.75rem;font-weight:600;color:var(--soft)}
.eyebrow,thead th,td::before{letter-spacing:.07em;text-transform:uppercase}
th code,.eyebrow{color:var(--blue);font-weight:600}
caption p,.note,.number,.no,.yes b,.example b,footer{color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1.5rem 2.5rem;
padding:1.75rem 0;border:solid var(--hair);border-width:1px 0}
table{width:100%;border-collapse:collapse}
.fields table{table-layout:fixed}
.beside table{max-width:70rem}
caption{text-align:left;padding-bottom:1rem}
th,td{padding:1rem 1.75rem 1rem 0;text-align:left;vertical-align:top;font-weight:400}
thead th{padding-block:.6rem;border-bottom:2px solid var(--ink)}
tbody tr{border-bottom:1px solid var(--hair)}
.signatures tbody tr{height:4rem}
.fields :is(th,td):nth-child(1){width:4.25rem;padding-inline:.875rem .25rem}
.fields :is(th,td):is(:nth-child(2),:nth-child(3)){width:16%}
.fields :is(th,td):nth-child(5){width:27%}
.fields :is(th,td):nth-child(6){width:18%}
.lossy td:first-child{border-left:3px solid var(--rust)}
.inner th{padding-left:1.25rem}
p:empty{display:none}
p+p,p+code,code+p{margin-top:.3rem}
.note,.example,.yes b,.no b{font-size:.8125rem}
.yes b,.no b,.example b{font-weight:400}
.yes,.no{display:grid;grid-template-columns:7.75rem 1fr;gap:.75rem}
.yes b,.no b{line-height:1.7}
.example{padding-left:.75rem;border-left:2px solid var(--hair)}
@media screen and (prefers-color-scheme:dark){:root{--paper:#12171c;--ink:#e6e9ec;--soft:#9ba7b2;
--hair:#2b343c;--blue:#8fc1e3;--rust:#f2a27a}}
@media screen and (min-width:60rem) and (max-width:80rem){.yes,.no{gap:0;grid-template-columns:1fr}}
@media screen and (max-width:60rem){
body{padding:2.5rem 1.25rem}
h1{font-size:2.125rem}
section,footer{margin-top:3rem}
dl{gap:1rem}
table,caption,tbody,tr,th,td{display:block}
thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
tbody tr{margin-bottom:1rem;padding:1.25rem;border:1px solid var(--hair);border-radius:.5rem}
tbody tr.lossy{border-left:3px solid var(--rust)}
.fields tbody tr{display:grid;grid-template-columns:auto 1fr;column-gap:.75rem}
tbody :is(th,td),.fields tbody :is(th,td):nth-child(n){width:auto;padding:0;border:0}
.fields td:nth-child(n+3){grid-column:1/-1}
.fields td:nth-child(n+3),:is(.beside,.signatures) tbody td+td,.beside tbody td{margin-top:1rem}
.fields td:nth-child(n+3)::before,:is(.beside,.signatures) td::before{content:attr(data-head);
display:block}
td:empty{display:none}
.signatures tbody tr{height:auto}
.signatures tbody td{display:block;height:3.5rem;border-bottom:1px solid var(--hair)}
}
@page{size:A4 landscape;margin:14mm;@bottom-right{content:counter(page) "/" counter(pages);
font:8pt sans-serif;color:#5b6773}}
@media print{html{font-size:10.5px}body{max-width:none;padding:0}section{margin-top:3rem}
tr,.signatures{break-inside:avoid}caption,h2{break-after:avoid}}
"""
_FORMATS: Final = {"md": _markdown, "csv": _csv, "html": _html}
