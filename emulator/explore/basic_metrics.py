"""Metrics of time, traffic and use: what follows from the timing alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulator.explore.metrics import LESS, MORE, Metric, Result, add

Value = Callable[[Result], float | None]


def phase(result: Result, *names: str) -> dict[str, Any] | None:
    """The first of these phases that was timed."""
    found = (result["phases"].get(name) for name in names)
    return next((each for each in found if each), None)


def token_seconds(result: Result) -> float | None:
    """Mean seconds of a step that gives each sequence one token."""
    found = phase(result, "generate", "decode")
    return found["seconds"] / found["steps"] if found else None


def request_seconds(result: Result) -> float | None:
    """From the first prompt's arrival to the last token."""
    first, later = phase(result, "prefill"), phase(result, "generate")
    if not first:
        return None
    return float(first["seconds"]) + (later["seconds"] if later else 0.0)


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _prefill_rate(result: Result) -> float | None:
    found = phase(result, "prefill")
    return _ratio(found["tokens"], found["seconds"]) if found else None


def _user_rate(result: Result) -> float | None:
    return _ratio(1, token_seconds(result))


def _chip_rate(result: Result) -> float | None:
    return _ratio(result["inputs"]["batch"], token_seconds(result))


def _request_rate(result: Result) -> float | None:
    inputs = result["inputs"]
    return _ratio(inputs["batch"] * inputs["output"], request_seconds(result))


def _ttft(result: Result) -> float | None:
    found = phase(result, "prefill")
    return float(found["seconds"]) if found else None


def _add_rates() -> None:
    add(
        Metric(
            "ttft",
            "s",
            LESS,
            "time to first token: until every prompt of the batch is "
            "prefilled, one after the other",
            ("prefill",),
            _ttft,
        )
    )
    add(
        Metric(
            "tpot",
            "s",
            LESS,
            "time per output token of each sequence",
            ("decode", "generate"),
            token_seconds,
        )
    )
    add(
        Metric(
            "tokens_per_s_user",
            "tokens/s",
            MORE,
            "tokens each sequence gets a second, after its first",
            ("decode", "generate"),
            _user_rate,
        )
    )
    add(
        Metric(
            "tokens_per_s_chip",
            "tokens/s",
            MORE,
            "the same of all sequences of the batch",
            ("decode", "generate"),
            _chip_rate,
        )
    )
    add(
        Metric(
            "prefill_tokens_per_s",
            "tokens/s",
            MORE,
            "prompt tokens a second",
            ("prefill",),
            _prefill_rate,
        )
    )
    add(
        Metric(
            "request_s",
            "s",
            LESS,
            "from the prompts to the last token",
            ("prefill", "generate"),
            request_seconds,
            every=True,
        )
    )
    add(Metric("request_tokens_per_s_chip", "tokens/s", MORE, "output tokens of the batch over "
               "`request_s`", ("prefill", "generate"), _request_rate, every=True))  # fmt: skip


# ---- each phase's use of the chip


def _utilisation(*names: str) -> Value:
    def value(result: Result) -> float | None:
        found = phase(result, *names)
        return _ratio(found["bounds"]["array"], found["cycles"]) if found else None

    return value


def hbm_bytes(found: dict[str, Any], *classes: str) -> float:
    """Useful bytes read and written; with classes of regions, of those alone."""
    hbm = found["traffic"]["hbm"]
    parts = [hbm["classes"].get(name, {}) for name in classes] if classes else [hbm]
    return float(sum(part.get("read", 0) + part.get("write", 0) for part in parts))


def _per_step(classes: tuple[str, ...], *names: str) -> Value:
    def value(result: Result) -> float | None:
        found = phase(result, *names)
        return _ratio(hbm_bytes(found, *classes), found["steps"]) if found else None

    return value


def _hbm_share(*names: str) -> Value:
    """Bytes moved over what the peak rate could have moved."""

    def value(result: Result) -> float | None:
        found = phase(result, *names)
        if not found:
            return None
        chip = result["chip"]
        seconds = found["cycles"] / chip["clock_hz"]
        return _ratio(hbm_bytes(found), chip["hbm"]["bytes_per_second"] * seconds)

    return value


def _add_use() -> None:
    for name, phases in (("prefill", ("prefill",)), ("decode", ("decode", "generate"))):
        add(
            Metric(
                f"{name}_array_utilisation",
                "1",
                MORE,
                "MACs over what all arrays could do",
                phases,
                _utilisation(*phases),
            )
        )
        add(
            Metric(
                f"{name}_hbm_utilisation",
                "1",
                MORE,
                "HBM bytes over what its peak rate allows",
                phases,
                _hbm_share(*phases),
            )
        )
        add(
            Metric(
                f"{name}_hbm_bytes",
                "B",
                LESS,
                "HBM bytes read and written a step",
                phases,
                _per_step((), *phases),
            )
        )
        add(
            Metric(
                f"{name}_hbm_weight_bytes",
                "B",
                LESS,
                "the same of weights and their scales",
                phases,
                _per_step(("weights", "scales"), *phases),
            )
        )
        add(Metric(f"{name}_hbm_kv_bytes", "B", LESS, "the same of the KV cache",
                   phases, _per_step(("kv",), *phases)))  # fmt: skip


# ---- what a chip has, and what a program takes of it


def _sram(result: Result) -> float:
    chip = result["chip"]
    tiles = chip["clusters"] * chip["tiles_per_cluster"]
    of_tile = chip["tile"]["tsram"]["bytes"] + chip["tile"]["acc"]["bytes"]
    return float(tiles * of_tile + chip["clusters"] * chip["cluster"]["csram"]["bytes"])


def _peak(result: Result) -> float:
    chip = result["chip"]
    tiles = chip["clusters"] * chip["tiles_per_cluster"]
    array = chip["tile"]["mxu"]
    rate: float = array["rates"]["fp8"]["fp8"]
    return float(2 * tiles * array["rows"] * array["columns"] * chip["clock_hz"] * rate)


def _add_sizes() -> None:
    add(
        Metric(
            "hbm_needed_bytes",
            "B",
            LESS,
            "HBM that the program takes",
            (),
            lambda result: float(result["program"]["hbm_bytes"]),
        )
    )
    add(
        Metric(
            "sram_bytes", "B", None, "SRAM of the chip: tiles, accumulators, clusters", (), _sram
        )
    )
    add(Metric("peak_fp8_flops", "Hz", None, "peak operations a second, FP8 by FP8 (a MAC is two)",
               (), _peak))  # fmt: skip


_add_rates()
_add_use()
_add_sizes()
