"""Tables in the documents that are made of what the generator knows."""

from __future__ import annotations

from pathlib import Path

from codegen.plan import Plan

__all__ = ["PAGE", "with_table"]

PAGE = Path("docs/reliability.md")
_BEGIN = "<!-- generated: the retry classes -->\n"
_END = "<!-- end of what is generated -->\n"


def with_table(page: str, plan: Plan) -> str:
    """*page* with the retry class of every operation between its marks."""
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    rows = ["| operation | method | class | cursor | read back by |", "|---|---|---|---|---|"]
    for one in sorted(plan.operations, key=lambda one: (one.resource, one.name)):
        if one.view_of is None:
            back = one.reads_back.operation if one.reads_back else ""
            call = f"`{one.resource}.{one.name}` ({one.id})"
            rows.append(f"| {call} | {one.method} | {one.retry} | {one.cursor_kind or ''} | {back} |")
    table = "\n".join(rows)
    return f"{before}{_BEGIN}\n{table}\n\n{_END}{after}"
