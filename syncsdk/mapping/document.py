"""A mapping's document: what a business reader reads and signs.

Decides how the words of a mapping look as Markdown, CSV and HTML, and how the tables of a
profile do beside them. Leaves the words to ``words``, what stands where to ``sheet``, and what
real data holds to ``profile``.

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

from .sheet import SEEN, UNMAPPED, Line, Sheet, Table, digest, rows
from .words import REFUSED

if TYPE_CHECKING:
    from .mapper import TypedMapper
    from .profile import Profile

__all__ = ["Line", "Sheet", "Table", "digest", "document", "rows", "section"]


def document(
    mapper: TypedMapper[Any, Any],
    format: Literal["md", "csv", "html"],
    *,
    examples: Sequence[Any] = (),
    profile: Profile | None = None,
    date: datetime.date | None = None,
) -> str:
    """Return the document of a mapping: always the same text for the same arguments.

    Args:
        mapper: the mapping.
        format: Markdown with tables, CSV as RFC 4180 has it, or one HTML file without
            scripts and references.
        examples: records of the source; what becomes of them stands beside the rules,
            values of sensitive fields masked.
        profile: what real data holds, which is then told of each source, option and dropped
            field; Markdown and HTML have its tables too. No digest depends on it.
        date: of the document; none is shown without it.

    Raises:
        ConfigurationError: there is no such format, or the profile is not of this mapping as
            it is now.
    """
    if format not in _FORMATS:
        raise ConfigurationError(f"there is no format {format!r}", remedy="Use md, csv or html")
    if profile is not None and not profile.fits(mapper):
        raise ConfigurationError(
            f"the profile of {profile.mapping} is not of {mapper.name} as it is now",
            remedy=f"Profile again: {mapper.name}.profile(records)",
        )
    sheet = rows(mapper, examples=examples, profile=profile)
    more = {"Document digest": digest(mapper)} | ({"Date": date.isoformat()} if date else {})
    return _FORMATS[format](evolve(sheet, head={**sheet.head, **more}), profile)


def section(profile: Profile) -> str:
    """Return a profile as a ``<section>`` of HTML, as the document has it."""
    tables = "".join(_table(*_beside("held", each), level=3) for each in profile.tables())
    head = f'<h2>{_DATA}</h2>\n<p class="headline">{_headline(profile)}</p>\n'
    note = f'<p class="note">{_note(profile)}</p>\n'
    return f'<section class="profile">{head}{note}{tables}</section>\n'


# -- Formats ---------------------------------------------------------------------------

_Cell: TypeAlias = Sequence[tuple[str, str, str]]
"""Paragraphs: what they are ("code" for names of code), a label or "", and the text."""
_Row: TypeAlias = tuple[str, Sequence[_Cell]]
"""What the row is ("lossy", "inner", "look"), and its cells."""
_COLUMNS: Final = [its.name for its in attrs.fields(Line) if its.name != "seen"]
_DATA: Final = "What real data holds"
_KINDS: Final = dict.fromkeys(
    ("times", "of", "present", "null", "blank", "spaces", "different", "characters"),
    "figure",
) | {"source path": "code", "source": "code", "code": "left out", "decision": "left out"}
"""What the cells are under some heads."""
_READ: Final = (
    "Refused: nothing of the record is sent. It is kept with the reason until it is mended.",
    "Absent: the record has no such field. Null: the field holds no value. Blank: it holds no "
    "text, or spaces only.",
    "Text is cleaned first: spaces at both ends and invisible characters are removed. A cut never "
    "parts a letter from its accent, or an emoji that is joined of several; where nothing is left, "
    "the record is refused.",
)


_Told: TypeAlias = tuple[str, str, str, Sequence[str], Sequence[_Row]]
"""Kind, title, note, heads and rows of a table, for Markdown and HTML."""


def _tables(sheet: Sheet) -> Iterator[_Told]:
    """Yield the tables of a mapping."""
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
            [("code", "", line.source_path), ("note", "", line.source_meaning),
             ("seen", "Seen in data", line.seen)],
            [("", "", line.rule), ("example", "e.g.", line.example),
             ("note", "", f"Id {line.rule_id}")],
            [("no" if end == REFUSED else "yes", ", ".join(on), end) for end, on in ends.items()],
            [("lost", "▲ Lost", line.lost), ("", "", line.why)],
        ]))  # fmt: skip
    heads = ["No.", "Destination", "Source", "Rule", "What does not fit", "Lost, and why"]
    yield "fields", "Fields", "", heads, found
    yield from (_beside("beside", each) for each in sheet.tables)
    note = f"Of the document with the digest {sheet.head['Document digest']}."
    yield (
        "signatures",
        "Signatures",
        note,
        ["Name", "Role", "Date", "Signature"],
        [("", [()] * 4)] * 3,
    )


def _beside(kind: str, table: Table) -> _Told:
    kinds = [_KINDS.get(head, "") for head in table.heads]
    if SEEN in table.heads:
        kinds[-1] = "figure" if table.heads[0] == "source option" else "seen"
    left = [at for at, each in enumerate(kinds) if each != "left out"]
    told: list[_Row] = [
        ("look" * (UNMAPPED in row), [[(kinds[at], "", row[at])] for at in left])
        for row in table.rows
    ]
    return kind, table.title, table.note, [table.heads[at].capitalize() for at in left], told


def _figures(found: Sequence[_Row]) -> set[int]:
    """Return which columns hold figures."""
    cells = [(at, cell) for _, row in found for at, cell in enumerate(row)]
    return {at for at, cell in cells if [kind for kind, _, _ in cell] == ["figure"]}


def _csv(sheet: Sheet, profile: Profile | None) -> str:
    seen = SEEN.replace(" ", "_")
    told = [("field", attrs.asdict(line) | {seen: line.seen}) for line in sheet.lines]
    for each in sheet.tables:
        names = [head.replace(" ", "_") for head in each.heads]
        told += [(each.title.lower(), dict(zip(names, row, strict=True))) for row in each.rows]
        told += [(each.title.lower(), {"rule": each.note})] if each.note else []
    about = {"Title": sheet.title, "Description": sheet.description, **sheet.head}
    told += [
        ("about", {"destination_field": name, "meaning": fact}) for name, fact in about.items()
    ]
    more = [seen] if profile else []
    columns = [*_COLUMNS, *more, "source_option", "destination_option", "relation", "owner"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["kind", *(name.replace("_", " ") for name in columns)])
    for kind, cells in told:
        row = [kind, *((cells | {"owner": sheet.head["Owner"]}).get(name, "") for name in columns)]
        # A spreadsheet would run such a cell as a formula.
        writer.writerow(f"'{cell}" if cell[:1] in set("=+-@\t\r\n") else cell for cell in row)
    return out.getvalue()


def _markdown(sheet: Sheet, profile: Profile | None) -> str:
    def safe(text: str) -> str:
        for mark in "\\`*_[]|<>~#$":
            text = text.replace(mark, f"\\{mark}")
        return "<br>".join(text.replace("&", "&amp;").splitlines())

    def paragraph(kind: str, label: str, text: str) -> str:
        if kind == "code" and "`" not in text:
            return "<br>".join(f"`{line}`" for line in text.replace("|", "\\|").splitlines())
        return f"{safe(label)}: {safe(text)}" if label else safe(text)

    def table(heads: Sequence[str], found: Sequence[_Row]) -> str:
        figures = _figures(found)
        lines = [heads, ["---:" if at in figures else "---" for at in range(len(heads))]]
        for _, row in found:
            cells = [[paragraph(*each) for each in cell if each[2]] for cell in row]
            lines.append(["<br>".join(cell) for cell in cells])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    about = [("", [[("", "", name)], [("", "", fact)]]) for name, fact in sheet.head.items()]
    parts = [f"# {safe(sheet.title)}", safe(sheet.description), table(["About", ""], about)]
    told = [("##", each) for each in _tables(sheet)]
    if profile is not None:
        tables = [("###", _beside("held", each)) for each in profile.tables()]
        note = f"{profile.headline}. {_note(profile)}"
        first: tuple[str, _Told] = "##", ("", _DATA, note, [], [])
        told[-1:-1] = [first, *tables]
    for mark, (_, title, note, heads, found) in told:
        parts += [f"{mark} {safe(title)}", safe(note), table(heads, found) if heads else ""]
    return "\n\n".join(filter(None, [*parts, "## How to read it", *map(safe, _READ)])) + "\n"


def _paragraph(kind: str, label: str, text: str) -> str:
    mark, told = (f"<b>{escape(label)}</b> " if label else ""), escape(text)
    if kind == "code":  # A long name may be broken at its points.
        told = told.replace(".", ".<wbr>")
        return "".join(f"<code>{line}</code>" for line in told.splitlines())
    lines = told.splitlines()
    if kind == "seen":  # A share is not parted from its name.
        whole = [line.replace(" ", "&nbsp;") for line in lines]
        lines = [f"<b>{a}</b>" if a[:1] == "▲" else b for a, b in zip(lines, whole, strict=True)]
    told = "<br>".join(lines).replace(",&nbsp;", ", ").replace(":&nbsp;", ": ")
    return f'<p class="{kind}">{mark}<span>{told}</span></p>'


def _table(
    kind: str, title: str, note: str, heads: Sequence[str], found: Sequence[_Row], level: int = 2
) -> str:
    first, body = {"fields": 1, "beside": 0, "held": 0}.get(kind), ""
    marks = [' class="figure"' * (at in _figures(found)) for at in range(len(heads))]
    for mark, row in found:
        body += f'<tr class="{mark}">'
        for at, (head, cell) in enumerate(zip(heads, row, strict=True)):
            tag = 'th scope="row"' if at == first else "td"
            inner = "".join(_paragraph(*each) for each in cell if each[2])
            body += f'<{tag}{marks[at]} data-head="{escape(head)}">{inner}</{tag[:2]}>'
        body += "</tr>\n"
    names = "".join(
        f'<th scope="col"{mark}>{escape(head)}</th>'
        for head, mark in zip(heads, marks, strict=True)
    )
    told = {"title": escape(title), "note": escape(note), "level": level}
    return _TABLE.format(kind=kind, **told, heads=names, body=body)


def _note(profile: Profile) -> str:
    return f"Of the rules with the digest {profile.digest}. It is no part of what is signed."


def _headline(profile: Profile) -> str:
    return f"{escape(profile.headline)}.".replace(" %", "&nbsp;%")


def _html(sheet: Sheet, profile: Profile | None) -> str:
    *tables, signatures = [_table(*each) for each in _tables(sheet)]
    seen = ("", "", "")
    if profile is not None:
        seen = _SEEN_STYLE, f"<br>Of real data, {_headline(profile)}", section(profile)
    about = [f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in sheet.head.items()]
    return _PAGE.format(
        style=_STYLE + seen[0],
        title=escape(sheet.title),
        description=escape(sheet.description),
        fields=len(sheet.lines),
        lossy=sum(bool(line.lost) for line in sheet.lines),
        about="".join(f"<div>{each}</div>" for each in about),
        seen=seen[1],
        tables="".join([*tables, seen[2], signatures]),
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
<p class="counts">{fields} fields. <b>▲ Something is lost</b> in {lossy} of them.{seen}</p>
<dl>{about}</dl></header>
<main>{tables}</main>
<footer><h2>How to read it</h2>{read}</footer></body></html>
"""
_TABLE: Final = """<section class="{kind}"><table>
<caption><h{level}>{title}</h{level}><p>{note}</p></caption>
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
_SEEN_STYLE: Final = """
p.seen{color:var(--soft)}
td>p+.seen{margin-top:.6rem;padding-left:.75rem;border-left:2px solid var(--hair);
font-size:.8125rem}
.seen>b{display:block;font-weight:400}
.seen span b,.look td:nth-child(3),.look .figure{font-weight:400;color:var(--rust)}
.figure{text-align:right;white-space:nowrap}
.headline{max-width:48ch;margin:.75rem 0 .5rem;
font:400 2.125rem/1.2 var(--serif);letter-spacing:-.01em}
h3{font:600 1rem/1.4 var(--sans)}
.held{margin-top:3rem;font-size:.875rem}
.held :is(th,td){padding:.5rem clamp(.75rem,1.4vw,1.25rem) .5rem 0}
.held thead th{letter-spacing:.02em}
.held :is(th,td):not(.figure){min-width:7rem}
:is(.held,.beside) .figure:last-child{padding-right:0}
@media print,(min-width:60.01rem){
.fields :is(th,td):nth-child(2){width:15%}
.fields :is(th,td):nth-child(3){width:19%}
.fields :is(th,td):nth-child(5){width:25%}
.fields :is(th,td):nth-child(6){width:17%}
.held tbody th{width:15rem}
}
@media screen and (max-width:60rem){
.headline{font-size:1.75rem}
.figure{text-align:left}
.held tbody td:nth-child(n){display:grid;grid-template-columns:6.5rem 1fr;align-items:baseline;
min-width:0;padding:.15rem 0}
.held tbody th:nth-child(n){padding:0 0 .5rem}
.held tbody td:empty{display:none}
.held td::before{content:attr(data-head)}
}
@media print{.profile{break-before:page}.held tbody tr:first-child{break-before:avoid}}
"""
_FORMATS: Final = {"md": _markdown, "csv": _csv, "html": _html}
