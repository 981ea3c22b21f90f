"""Writes the code and the tables of docs/kernels.md, so that neither is typed.

    tinylm bench --ladder --compile --json ladder.jsonl --plot docs/kernels.png
    python benchmarks/kernel_ladders.py ladder.jsonl

Code stands behind `<!-- code: FILE FUNCTION ... -->`, with the file below kernels/tinylm_kernels; a kernel's tables
behind `<!-- table: KERNEL -->` and what they were measured on behind `<!-- machine -->`, until the next `<!-- end -->`.
Without results, the code alone is written.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "kernels.md"
CODE = re.compile(r"(<!-- code: (\S+) (.+?) -->\n```py\n).*?(```\n)", re.DOTALL)
COLUMNS = ("", "min ms", "median ms", "GFLOP/s", "GB/s", "of the roof", "x v0_loops", "x numpy", "x torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, help="what --json wrote; the last of several runs counts")
    options = parser.parse_args()
    page = with_code(PAGE.read_text(encoding="utf-8"))
    if options.results:
        page = with_tables(
            page, [json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()]
        )
    PAGE.write_text(page, encoding="utf-8")


def with_code(page: str) -> str:
    """The page with the code that its comments name."""

    def quote(match: re.Match[str]) -> str:
        return match[1] + "\n\n".join(source_of(match[2], name) for name in match[3].split()) + match[4]

    return CODE.sub(quote, page)


def source_of(file: str, name: str) -> str:
    """A function of a kernel's file with its decorators, without its docstring."""
    text = (ROOT / "kernels" / "tinylm_kernels" / file).read_text(encoding="utf-8")
    nodes = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name]
    if not nodes:
        raise SystemExit(f"{file} has no function {name}")
    node, lines = nodes[0], text.splitlines(keepends=True)
    start = min(decorator.lineno for decorator in node.decorator_list) - 1
    if ast.get_docstring(node) is None:
        return "".join(lines[start : node.end_lineno])
    docstring, following = node.body[:2]
    return "".join(lines[start : docstring.lineno - 1] + lines[following.lineno - 1 : node.end_lineno])


def with_tables(page: str, records: Sequence[dict[str, Any]]) -> str:
    """The page with the tables of these results."""
    latest = {(r["kernel"], *r["dims"], r["candidate"]): r for r in records}
    for kernel in re.findall(r"<!-- table: (\w+) -->", page):
        rows = [r for r in latest.values() if r["kernel"] == kernel]
        if not rows:
            raise SystemExit(f"the results have nothing of {kernel}")
        page = replace(page, f"table: {kernel}", "\n".join(table(rows)))
    return replace(page, "machine", machine(records[-1]))


def replace(page: str, mark: str, text: str) -> str:
    """The page with a text between a comment and the next `<!-- end -->`."""
    pattern = rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{text}\n{match[2]}", page, count=1, flags=re.DOTALL)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table for each shape."""
    lines = []
    for dims in dict.fromkeys(tuple(r["dims"]) for r in rows):
        here = [r for r in rows if tuple(r["dims"]) == dims]
        medians = {r["candidate"]: r["median_s"] for r in here}
        lines += [
            f"\n**{' x '.join(map(str, dims))}**; {here[0]['roof']} binds:\n",
            row(COLUMNS),
            row(["---"] * len(COLUMNS)),
        ]
        for r in here:
            times = f"{r['minimum_s'] * 1e3:.2f}", f"{r['median_s'] * 1e3:.2f}"
            rates = f"{r['gflop_per_s']:.1f}", f"{r['gb_per_s']:.1f}", f"{r['roof_share']:.0%}"
            others = (medians.get(other) for other in ("v0_loops", "numpy", "torch"))
            ratios = [f"{other / r['median_s']:.1f}" if other else "-" for other in others]
            lines.append(row([f"`{r['candidate']}`", *times, *rates, *ratios]))
    return [*lines, ""]


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine(record: dict[str, Any]) -> str:
    software = ", ".join(f"{name} {record[name]}" for name in ("python", "numpy", "numba", "torch") if name in record)
    return (
        f"({record['processor']}, {record['cores']} cores, {record['threads']} threads; {software}. "
        f"Roofs: {record['bandwidth_gb_per_s']:.1f} GB/s copied, "
        f"{record['product_gflop_per_s']:.0f} GFLOP/s in a float32 product.)"
    )


if __name__ == "__main__":
    main()
