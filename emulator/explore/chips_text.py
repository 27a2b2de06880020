"""The facts of `emu chips` for people, in 100 columns."""

from __future__ import annotations

import textwrap
from typing import Any

from emulator.report_table import percentages, table

WIDTH = 100
_MARKS = {"measured": "m", "derived": "d", "estimate": "e"}
_LEGEND = (
    "m: published or measured, d: derived, e: estimate. FLOP/B: FP8 FLOP for a byte of HBM.",
    "TFLOP/s are dense. SRAM without accumulators. USD: to buy, at the technology's margin.",
)


def comparison(found: dict[str, Any], others: list[str]) -> str:
    """The table of several chips; `others` are named below it."""
    header = ("chip", "FP4", "FP8", "BF16", "SRAM", "HBM", "HBM", "FLOP", "mm2", "W",
              "USD", "weights")  # fmt: skip
    units = ("", "TF/s", "TF/s", "TF/s", "MiB", "GB", "TB/s", "/B", "", "", "", "in")
    rows = [_row(chip) for chip in found["chips"]]
    lines = [f"Chips, priced by {found['technology']}"]
    lines += table([header, units, *rows], "<>>>>>>>>>><")
    lines += ["", *(f"  {line}" for line in _LEGEND)]
    lines.append(
        "  emu chips NAME explains one: its sources, what it cannot represent, its ledgers."
    )
    if others:
        names = f"Not priced, parts of chips and variants: {', '.join(others)}"
        lines += textwrap.wrap(
            names,
            WIDTH - 2,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _row(chip: dict[str, Any]) -> tuple[str, ...]:
    peaks, sram, hbm = chip["peak_flops"], chip["sram"], chip["hbm"]
    rate = hbm["bytes_per_second"]
    return (
        chip["name"],
        *(f"{peaks[pair] / 1e12:,.0f}" for pair in ("fp4 x fp4", "fp8 x fp8", "bf16 x bf16")),
        f"{(sram['tsram_bytes'] + sram['csram_bytes']) / 2**20:,.1f}",
        f"{hbm['bytes'] / 1e9:,.0f}" if rate else "-",
        f"{rate / 1e12:.2f}" if rate else "-",
        f"{chip['flop_per_byte']:,.0f}" if rate else "-",
        *(_marked(chip[name]) for name in ("area_mm2", "power_w", "usd")),
        chip["weights"],
    )


def _marked(figure: dict[str, Any] | None) -> str:
    return "-" if figure is None else f"{figure['value']:,.0f} {_MARKS[figure['kind']]}"


def explanation(chip: dict[str, Any]) -> str:
    """One chip: what it is, its figures beside the published ones, its limits, its ledgers."""
    array = chip["array"]
    lines = [
        f"{chip['name']}: {chip['summary'] or 'says nothing of its sources'}",
        f"  {chip['tiles']} tiles of {array['rows']} x {array['columns']} at "
        f"{chip['clock_hz'] / 1e9:.3f} GHz, split {array['splits']}; process {chip['node']}; "
        f"weights: {chip['weights']}",
        "",
        *_peaks(chip),
        "",
        *_published(chip),
    ]
    if chip["ceiling_pj_per_mac"] is not None:
        lines += ["", f"  {chip['ceiling_pj_per_mac']:.3f} pJ for an FP8 MAC with all around it: "
                  "power less HBM's, over all MACs at the peak"]  # fmt: skip
    for title in ("conflicts", "limits"):
        lines += _sentences(title.capitalize(), chip[title])
    for name, ledger in chip["ledgers"].items():
        lines += ["", *_ledger(name.replace("_", " ").capitalize(), ledger)]
    if chip["unpriced"]:
        lines += ["", f"No price: {chip['unpriced']}"]
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(line: str) -> str:
    if len(line) <= WIDTH or line.startswith("  |"):
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, drop_whitespace=True)


def _peaks(chip: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [("TFLOP/s, dense", "bf16 weights", "fp8 weights", "fp4 weights")]
    peaks = chip["peak_flops"]
    for a in ("bf16", "fp8", "fp4"):
        cells = (f"{peaks[f'{a} x {w}'] / 1e12:,.1f}" for w in ("bf16", "fp8", "fp4"))
        rows.append((f"{a} activations", *cells))
    return table(rows, "<>>>")


def _published(chip: dict[str, Any]) -> list[str]:
    if not chip["figures"]:
        return ["No figures of a real part."]
    here = _described(chip)
    rows = [("published figure", "value", "kind", "here", "source")]
    for name, figure in chip["figures"].items():
        value = here.get(name)
        shown = "-" if value is None else f"{value:.4g}"
        rows.append((name, f"{figure['value']:.4g}", figure["kind"], shown, figure["source"]))
    lines = table(rows, "<><><")
    for label, source in chip["sources"].items():
        lines.append(f"  {label}: {source['citation']}, {source['date']}")
    return lines


def _described(chip: dict[str, Any]) -> dict[str, float | None]:
    """What the description has for a published figure."""
    peaks, sram, hbm = chip["peak_flops"], chip["sram"], chip["hbm"]
    return {
        "peak_fp4": peaks["fp4 x fp4"],
        "peak_fp8": peaks["fp8 x fp8"],
        "peak_bf16": peaks["bf16 x bf16"],
        "sram_bytes": sram["tsram_bytes"] + sram["csram_bytes"],
        "sram_bytes_per_second": sram["tsram_bytes_per_second"],
        "hbm_bytes": hbm["bytes"],
        "hbm_bytes_per_second": hbm["bytes_per_second"],
        "scale_up_bytes_per_second": chip["scale_up_bytes_per_second"],
        "power_w": chip["modelled_power_w"],
    }


def _sentences(title: str, sentences: list[str]) -> list[str]:
    return ["", title, *(f"  {sentence}" for sentence in sentences)] if sentences else []


def _ledger(title: str, ledger: dict[str, Any]) -> list[str]:
    """Entries that are not zero, with their shares of the total."""
    entries = [entry for entry in ledger["entries"] if entry["value"]]
    shares = percentages([entry["value"] for entry in entries])
    rows = [(title, ledger["unit"], "%", "", "how")]
    for entry, share in zip(entries, shares, strict=True):
        how = f"{entry['amount']:,.4g} {entry['unit']} at {entry['rate']:.3g}"
        mark = _MARKS[entry["kind"]]
        rows.append((entry["name"], f"{entry['value']:,.1f}", share, mark, how))
    rows.append(("total", f"{ledger['total']:,.1f}", "100.0", _MARKS[ledger["kind"]], ""))
    return table(rows, "<>><<")
