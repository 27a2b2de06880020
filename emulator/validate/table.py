"""The tables of `emu validate`."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.validate.errors import Errors
from emulator.validate.report import Found

MOST_ROWS = 60  #: of one set; beyond, the worst are shown
_SHORT = 10


def text(result: Found) -> str:
    """One set: its rows, its errors, others' errors."""
    chosen = result.set
    others = list(result.others)
    lines = [f"{chosen.name}: {chosen.title}", f"  chip {chosen.chip}, {chosen.citation}"]
    lines += [f"  {note}" for note in chosen.notes]
    head = ["", "predicted", f"measured ({chosen.unit})", "error", *others, ""]
    rows = [_row(result, index, others) for index in _shown(result)]
    lines += _aligned([head, *rows])
    if len(rows) < len(chosen.cases):
        lines.append(f"  ... the {len(rows)} worst of {len(chosen.cases)} rows")
    return "\n".join([*lines, "", *_summary(result)])


def _shown(result: Found) -> Sequence[int]:
    cases = result.set.cases
    if len(cases) <= MOST_ROWS:
        return range(len(cases))

    def badness(index: int) -> float:
        return -abs(result.predicted.get(index, 0) / cases[index].measured - 1)

    return sorted(result.counted, key=badness)[:_SHORT]


def _row(result: Found, index: int, others: list[str]) -> list[str]:
    case, predicted = result.set.cases[index], result.predicted.get(index)
    note = "; ".join(part for part in ("fitting" if case.fitting else "", case.note) if part)
    cells = [case.name, "-", _number(case.measured), "-"]
    if predicted is not None:
        cells[1], cells[3] = _number(predicted), _percent(predicted / case.measured - 1)
    for name in others:
        value = result.others[name].get(index)
        cells.append("" if value is None else _percent(value / case.measured - 1))
    return [*cells, note]


def _summary(result: Found) -> list[str]:
    head = ["", "rows", "MAPE", "median", "bias", "rank"]
    rows = [_line("this model", result.errors)]
    rows += [_line(name, found) for name, found in result.published.items() if found.rows]
    return _aligned([head, *rows])


def _line(name: str, found: Errors) -> list[str]:
    rank = "" if found.spearman is None else f"{found.spearman:.3f}"
    shares = [_share(found.mape), _share(found.median_ape)]
    bias = "" if found.bias is None else _percent(found.bias)
    return [name, str(found.rows), *shares, bias, rank]


def overview(results: Sequence[Found]) -> str:
    """All sets, a line each."""
    head = ["set", "rows", "MAPE", "median", "bias", "rank"]
    return "\n".join(_aligned([head, *(_line(r.set.name, r.errors) for r in results)]))


def _aligned(rows: list[list[str]]) -> list[str]:
    """Cells in columns: the first and the last to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1 if not any(row[-1][:1].isdigit() for row in rows) else -1
    return ["  " + "  ".join(_cell(row, i, widths, last) for i in range(len(row))).rstrip()
            for row in rows]  # fmt: skip


def _cell(row: list[str], column: int, widths: list[int], last: int) -> str:
    if column in (0, last):
        return row[column].ljust(widths[column])
    return row[column].rjust(widths[column])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
