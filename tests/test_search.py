"""The search for a tiling: bounded, the same again, kept; and what it prints is what it found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_runs import done, emu

from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.options import Options
from compiler.tiling import KNOBS, RULES, Tiling
from emulator.bench.chip.step import Setting, run
from emulator.search import found as searching
from emulator.search import subject as subjects
from emulator.search.found import Found, Limits, search
from emulator.search.space import LADDERS
from emulator.search.steps import HELD_OUT, SEARCHED, Step
from emulator.search.subject import Asked, Subject, Time, Timer
from emulator.search.walk import LEAST_GAIN, Tried, Walk
from isa.chip import load_chip
from isa.program import load
from tests.test_bench_chip import SIZES, small

MINI = load_chip("t1-mini")
CONFIG = ModelConfig.from_dict(SIZES)
OPTIONS = Options(rows=32, sequences=2, context=256, top_k=3)
STEP = Step("decode", 1, 150)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test; compiled kernels stay where they are."""
    monkeypatch.setattr(subjects, "folder", lambda: tmp_path / "search")
    return tmp_path


def searched(budget: int = 8, seed: int = 0, jobs: int = 1, *steps: Step) -> Found:
    limits = Limits(budget, seed, jobs)
    return search(Subject(CONFIG, MINI, OPTIONS), steps or [STEP], limits, "search")


# ---- real programs


def test_it_keeps_to_its_budget_and_is_answered_from_the_cache() -> None:
    first = searched()
    assert first.programs == 8 and first.timed > 8
    assert first.tried[0].tiling == RULES and first.tried[0].over == 1
    again = searched()
    assert (again.timed, again.known) == (0, first.timed)
    assert again.json() == first.json()
    assert first.best.over == min(each.over for each in first.tried if not each.partly)
    longer = searched(10)
    assert longer.tried[: len(first.tried)][:8] == first.tried[:8]  # what is in the cache is used
    assert longer.known >= first.timed - len(HELD_OUT)


def test_other_processes_and_seeds() -> None:
    alone = searched(4)
    subjects.folder().joinpath("results.sqlite").unlink()
    together = searched(4, jobs=2)
    assert together.timed == alone.timed and together.json() == alone.json()
    assert searched(4, seed=1).json()["tried"] != alone.json()["tried"]


def test_a_search_that_was_killed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(6)
    subjects.folder().joinpath("results.sqlite").unlink()
    evaluate, done_before = subjects.evaluate, 3

    def killed(jobs: Sequence[Any]) -> Any:
        nonlocal done_before
        if not done_before:
            raise KeyboardInterrupt
        done_before -= 1
        return evaluate(jobs)

    monkeypatch.setattr(subjects, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(6)
    monkeypatch.setattr(subjects, "evaluate", evaluate)
    rest = searched(6)
    assert rest.json() == whole.json()
    assert rest.known > 0 and rest.timed + rest.known == whole.timed


def test_cycles_are_those_of_the_bench() -> None:
    """A step of the search is the step that `emu bench chip` runs."""
    case = small("decode", 2, 100)
    setting = Setting(MINI, tiling=Tiling(slots=2, page_slots=3))
    subject = Subject(CONFIG, MINI, replace(setting.options(case), tiling=RULES), True)
    with subjects.timer(subject, 1) as clock:
        ((time,),) = clock.times([(setting.tiling, [Step("decode", 2, 100)])])
    assert time == run(setting, case, setting.options(case)).cycles


def test_knobs_that_are_given_stay() -> None:
    subject = Subject(CONFIG, MINI, replace(OPTIONS, tiling=Tiling(slots=2)))
    found = search(subject, [STEP], Limits(6), "search")
    assert all(each.tiling.slots is None for each in found.tried)
    assert subject.with_tiling(Tiling(block=8)).tiling == Tiling(slots=2, block=8)


def test_a_step_that_cannot_be_is_said() -> None:
    with pytest.raises(Exception, match="batch: 3 tokens do not fit"):
        searched(3, 0, 1, Step("decode", 3, 100))


# ---- made-up costs


class FakeSubject:
    """Settles to fixed rules, and refuses one value."""

    options = Options()
    rules = Tiling(**{name: ladder[len(ladder) // 2] for name, ladder in LADDERS.items()})

    def settled(self, tiling: Tiling) -> Tiling:
        if tiling.slots == 2:
            raise CompileError("two are too few")
        return replace(self.rules, **tiling.given())


class FakeTimer:
    """Cycles by a formula of the settled tiling and the step's length."""

    def __init__(self, cost: Callable[[Tiling, Step], Time]) -> None:
        self.subject, self._cost = FakeSubject(), cost
        self.programs: set[Tiling] = set()

    def times(self, asked: Sequence[Asked]) -> list[list[Time]]:
        found = []
        for tiling, steps in asked:
            now = self.subject.settled(tiling)
            self.programs.add(now)
            found.append([self._cost(now, step) for step in steps])
        return found


def walked(
    cost: Callable[[Tiling, Step], Time], budget: int, seed: int = 0
) -> tuple[Tried, list[Tried], FakeTimer]:
    clock = FakeTimer(cost)
    spent: list[float] = []
    walk = Walk(clock, [STEP], budget, seed, spent.append)  # type: ignore[arg-type]
    best = walk.run()
    assert sum(spent) == len(clock.programs) <= budget
    assert len(clock.programs) == sum(not each.planned for each in walk.tried)
    return best, walk.tried, clock


def bowl(tiling: Tiling, step: Step) -> int:
    """Best where chunks are 192 KiB, blocks 16 panels and parts 1; nothing else counts."""
    assert tiling.chunk and tiling.block and tiling.parts
    far = abs(math.log2(tiling.chunk / 196608)) + abs(math.log2(tiling.block / 16))
    return round(1e6 * (1 + 0.05 * far + 0.01 * (tiling.parts - 1)))


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_bottom_and_names_only_what_counts(seed: int) -> None:
    best, tried, _ = walked(bowl, 150, seed)
    assert best.tiling.given() == {"chunk": 196608, "block": 16, "parts": 1}
    refused = [each for each in tried if each.reason]
    assert {each.reason for each in refused} == {"two are too few"}
    assert len({each.tiling for each in refused}) == len(refused)
    assert all(each.tiling.slots == 2 and each.planned for each in refused)
    assert any(each.partly for each in tried) and not best.partly


def test_it_leaves_a_valley_that_only_one_knob_at_a_time_cannot() -> None:
    """Two knobs help together alone: only a kick comes there."""

    def cost(tiling: Tiling, step: Step) -> int:
        assert tiling.lent is not None and tiling.page_slots
        both = tiling.lent == 2 and tiling.page_slots == 8
        return 700_000 if both else 1_000_000 + 10_000 * (tiling.lent + tiling.page_slots)

    best, _, _ = walked(cost, 4000)
    assert best.tiling.given() == {"lent": 2, "page_slots": 8}


def test_it_follows_no_change_that_chance_makes() -> None:
    def cost(tiling: Tiling, step: Step) -> int:
        return 1_000_000 - round(LEAST_GAIN * 0.9e6) * (tiling != FakeSubject.rules)

    best, tried, _ = walked(cost, 60)
    assert best.tiling == RULES
    assert all(len(each.tiling.given()) <= 4 for each in tried)  # a kick, and a turn


def test_a_program_that_fails_is_refused_and_counts() -> None:
    def cost(tiling: Tiling, step: Step) -> Time:
        return "no registers left" if tiling.parts == 1 else bowl(tiling, step)

    best, tried, _ = walked(cost, 60)
    assert best.tiling.parts != 1
    assert {each.reason for each in tried if each.tiling.parts == 1} == {"no registers left"}


def test_what_is_no_better_where_it_was_not_searched_is_not_taken() -> None:
    """A tiling that is good at the lengths searched on alone."""
    searched_on = {step.length for step in STEP.near(SEARCHED)}

    def cost(tiling: Tiling, step: Step) -> int:
        lucky = tiling.parts == 3 and step.length in searched_on
        return 900_000 if lucky else 1_000_000 + 1000 * (tiling != FakeSubject.rules)

    clock = FakeTimer(cost)
    walk = Walk(clock, [STEP], 80, 0, lambda _: None)  # type: ignore[arg-type]
    best = walk.run()
    assert best.tiling == Tiling(parts=3)
    timer: Any = clock
    measured = searching._held_out(timer, [STEP], best.tiling)
    subject: Any = Subject(CONFIG, MINI, OPTIONS)
    found = Found(subject, Limits(80), tuple(walk.tried), best, tuple(measured), 0, 0)
    assert found.over == pytest.approx(1.001) and found.tiling == RULES
    assert found.json()["tiling"] == {}


# ---- steps


def test_steps_are_searched_and_measured_at_other_lengths() -> None:
    assert not set(SEARCHED) & set(HELD_OUT) and 0 in HELD_OUT
    assert [step.length for step in STEP.near(SEARCHED)] == [150 - by for by in SEARCHED]
    assert [step.length for step in Step("prefill", 1, 4).near(HELD_OUT)] == [4, 1]


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("decode", Step("decode", 1, 1024)),
        ("decode:batch=32", Step("decode", 32, 1024)),
        ("decode:context=7,batch=2", Step("decode", 2, 7)),
        ("prefill:prompt=99", Step("prefill", 1, 99)),
    ],
)
def test_a_step_is_read(text: str, step: Step) -> None:
    assert Step.parse(text) == step == Step.parse(str(step))


@pytest.mark.parametrize(
    "text", ["", "train", "decode:prompt=3", "prefill:context=3", "decode:batch=0", "decode:batch",
             "decode:context=1048577", "decode:batch=+1"],
)  # fmt: skip
def test_what_is_no_step_is_refused(model: Path, text: str) -> None:
    result = emu("compile", model, "-o", "p.bin", "--search", 2, "--search-for", text)
    assert result.status == 2 and "--search-for: " in result.err and result.err.count("\n") == 1


# ---- commands


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SIZES))
    return folder


def test_compile_writes_the_best_program(model: Path, tmp_path: Path) -> None:
    place, facts = tmp_path / "p.bin", tmp_path / "s.json"
    command = ["compile", model, "--no-weights", "--chip", "t1-mini", "--rows", 16, "-o", place]
    command += ["--search", 12, "--search-jobs", 1, "--search-json", facts]
    result = done(
        *command, "--search-for", "decode:context=99", "--search-for", "prefill:prompt=40"
    )
    data = json.loads(facts.read_text())
    given = load(place).metadata["options"].get("tiling", {})
    assert given == data["tiling"]
    assert data["programs"] == 12 and len(data["steps"]) == 2
    assert data["tried"][0] == {
        "tiling": {}, "status": "timed", "over": 1.0, "cycles": data["tried"][0]["cycles"],
    }  # fmt: skip
    for each in data["tried"]:
        text = Tiling(**each["tiling"]).text()
        assert all(part in result.out for part in text.split(",")) or not text
        assert each["status"] in ("timed", "given up", "refused")
    best = f"--tiling {Tiling(**given).text()}" if given else "No tiling is better"
    assert best in result.out and "12 programs of at most 12, seed 0" in result.out
    quiet = done(*command, "--search-for", "decode:context=99", "--quiet")
    assert quiet.out == ""


def test_options_of_a_search_need_one(model: Path) -> None:
    result = emu("compile", model, "--no-weights", "-o", "p.bin", "--search-for", "decode")
    assert result.status == 2 and "--search N" in result.err


def test_the_bench_keeps_its_rows_and_names_the_searched_ones(model: Path, tmp_path: Path) -> None:
    command = ["bench", "chip", "--chip", "t1-mini", "--model", model, "--only", "decode_*_b1"]
    plain = done(*command, "--json", "-").json
    file = tmp_path / "s.json"
    result = done(*command, "--search", 5, "--threads", 1, "--json", file)
    data = json.loads(file.read_text())
    assert data["rows"] == plain["rows"]
    (one,) = data["search"]
    assert one["row"] == "decode_small_b1" and one["chip"] == "t1-mini" and one["programs"] == 5
    if not one["tiling"]:
        assert one["cycles"] == data["rows"][1]["cycles"]
    assert "decode_small_b1, searched" in result.out and "over rules" in result.out
    none = emu(*command[:-1], "hbm_copy_64k", "--search", 5)
    assert none.status == 2 and "no step is chosen" in none.err


def test_the_documents_name_every_option_and_knob() -> None:
    text = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
    schedule = (Path(__file__).parents[1] / "docs" / "schedule.md").read_text(encoding="utf-8")
    for command in (("compile",), ("bench", "chip")):
        for word in done(*command, "--help").out.split():
            if word.startswith("--search") or word == "--tiling":
                assert f"`{word.rstrip('.,')}" in text, word
    for knob in KNOBS:
        assert f"| `{knob}` |" in schedule


def test_a_timer_tries_defects_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An internal error is a reason, and is not kept."""
    subject = Subject(CONFIG, MINI, OPTIONS)

    def broken(jobs: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
        empty = {"result": None, "seconds": 0.0, "host": ""}
        return [{"key": key, "status": "error", "reason": "a bug", **empty} for key, _ in jobs]

    with subjects.timer(subject, 1) as clock:
        monkeypatch.setattr(subjects, "evaluate", broken)
        assert clock.times([(RULES, [STEP])]) == [["a bug"]]
        monkeypatch.undo()
    monkeypatch.setattr(subjects, "folder", lambda: clock._store.path.parent)
    with subjects.timer(subject, 1) as clock:
        assert isinstance(clock, Timer)
        ((time,),) = clock.times([(RULES, [STEP])])
        assert isinstance(time, int)


def test_a_cache_that_cannot_be_written_is_said(model: Path, cache: Path) -> None:
    (cache / "search").write_text("a file")
    command = ["compile", model, "--no-weights", "--chip", "t1-mini", "-o", "p.bin", "--search", 2]
    result = emu(*command, "--search-for", "decode:context=9")
    assert result.status == 2 and "set XDG_CACHE_HOME to another place" in result.err
    (cache / "search").unlink()
    (cache / "search").mkdir()
    (cache / "search" / "results.sqlite").write_text("no database, but long enough to be read")
    result = emu(*command, "--search-for", "decode:context=9")
    assert result.status == 2 and "results.sqlite: is no results file" in result.err
