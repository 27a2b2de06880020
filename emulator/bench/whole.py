"""Rows of whole models: values and timing together, two threads, mxfp4 weights, mxfp8 activations.

Each model runs in a process of its own (emulated.py), from a program that is made once from a
random checkpoint (assets.py). Its yardstick takes turns with it: for decoding, the same checkpoint
in transformers (transformed.py), for prefill, the calls of the matrix kernel alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial, wraps
from importlib.util import find_spec

from emulator.bench.assets import Assets, NoRoomError, assets
from emulator.bench.host import Host
from emulator.bench.measure import Probe, in_turns
from emulator.bench.process import Asked
from emulator.bench.rows import Bar, BenchError, Entry, Measured

THREADS = 2
GIGA = 1e9
ALLOWANCE = 1 << 30  #: of resident memory beyond the packed weights
TORCH_RATIO, PREFILL_RATIO = 1.5, 1.6
EVERY = 4  #: of the row of decoding in which only every so many-th step is timed
EMULATED, TRANSFORMED = "emulator.bench.emulated", "emulator.bench.transformed"
NO_TORCH = "no yardstick: torch and transformers are not installed (the extra `hf`)"


@dataclass(frozen=True)
class Model:
    """A model with rows of its own."""

    name: str
    prompt: int = 512  #: tokens; fewer if the bench's effort is less
    against_torch: bool = True  #: whether transformers decodes it too: that takes its BF16 weights
    large: bool = False

    @property
    def decode(self) -> str:
        """Name of the row of decoding."""
        return f"decode_{self.name}_vs_torch" if self.against_torch else f"decode_{self.name}"


#: The second is a step of 128 rows: what the chip takes at a time, so more would be more of that.
MODELS = (Model("1b"), Model("8b", 128, against_torch=False, large=True))


def entries() -> list[Entry]:
    """Decoding, prefill and memory of each model."""
    return [entry for model in MODELS for entry in _entries(model)]


def _entries(model: Model) -> list[Entry]:
    name = model.name
    decode = Entry(model.decode, "tokens/s", partial(_decode, model))
    if model.against_torch:
        bar = Bar(">=", TORCH_RATIO)
        decode = replace(decode, against="transformers in bf16", bar=bar)
    kernels, most = "its matrix kernels alone", "packed weights + 1 GiB"
    prefill = Bar("<=", PREFILL_RATIO)
    found = [
        decode,
        *(_without_bars(model, decode) if model.against_torch else []),
        Entry(f"prefill_{name}", "s", partial(_prefill, model), kernels, prefill),
        Entry(f"memory_{name}", "GB", partial(_memory, model), most, Bar("<=", 1.0)),
    ]
    return [replace(entry, large=model.large) for entry in found]


def _without_bars(model: Model, decode: Entry) -> list[Entry]:
    """Decoding with every step timed anew, and with some of them timed."""
    options = {"timed": {"recalls": 0}, "sampled": {"every": EVERY}}
    return [
        replace(
            decode,
            name=model.decode.replace("_vs", f"_{name}_vs"),
            measure=partial(_decode, model, **chosen),
            bar=None,
        )
        for name, chosen in options.items()
    ]


Measure = Callable[..., Measured]


def _where_there_is_room(measure: Measure) -> Measure:
    """A row that lacks disk says so, and does not stop the others."""

    @wraps(measure)
    def checked(model: Model, host: Host, **options: int) -> Measured:
        try:
            return measure(model, host, **options)
        except NoRoomError as error:
            return Measured(None, note=str(error))

    return checked


def _prompt(model: Model, host: Host) -> int:
    return min(model.prompt, host.effort.prompt)


def _files(model: Model, host: Host) -> Assets:
    return assets(host.effort.shape or model.name, keep_checkpoint=model.against_torch)


# ---- decoding


@_where_there_is_room
def _decode(model: Model, host: Host, every: int = 1, recalls: int = 1) -> Measured:
    """Tokens a second after a prompt, in turns with transformers if it is there.

    With `every`, every so many-th step is timed, and all are computed (`emu run --time-every`).
    With `recalls` 0, so are those that do the work of an earlier one.
    """
    files, rounds, prompt = _files(model, host), host.effort.rounds, _prompt(model, host)
    timing = "cycles of every step" if every == 1 else f"every {every}th step timed"
    timing += "" if recalls else ", none recalled"
    note = f"after {prompt} tokens, {THREADS} threads, {timing}"
    with ExitStack() as stack:
        tokens, options = host.effort.tokens, (every, recalls)
        mine = _prefilled(stack, EMULATED, files.program, prompt, tokens, *options)
        if not model.against_torch:
            return Measured(mine.rate(rounds), note=note)
        if not has_torch():
            return Measured(mine.rate(rounds), note=NO_TORCH)
        theirs = _prefilled(stack, TRANSFORMED, files.checkpoint, prompt, tokens)
        return Measured(*in_turns(mine, theirs, rounds), note)


def has_torch() -> bool:
    """Whether there is what the yardstick needs."""
    return all(find_spec(name) is not None for name in ("torch", "transformers"))


def _prefilled(
    stack: ExitStack, module: str, path: object, prompt: int, tokens: int, *options: int
) -> Probe:
    """A model that has its prompt: a probe of some tokens more."""
    model = stack.enter_context(Asked(module, path, THREADS, *options))
    model.ask("prefill", prompt)
    return Probe(float(tokens), partial(model.seconds, "decode", tokens))


# ---- prefill


@_where_there_is_room
def _prefill(model: Model, host: Host) -> Measured:
    """Seconds for a prompt, in turns with its matrix products alone."""
    prompt, rounds = _prompt(model, host), host.effort.rounds
    with Asked(EMULATED, _files(model, host).program, THREADS) as child:
        count = child.ask("record", prompt)
        whole = Probe(1.0, partial(child.seconds, "prefill", prompt))
        products = Probe(1.0, partial(child.seconds, "products"))
        mine, theirs = in_turns(whole, products, rounds)
    note = f"{prompt} tokens, {prompt * mine:.1f} tokens/s, {count:,} matrix products"
    return Measured(1 / mine, 1 / theirs, note)


# ---- memory


@_where_there_is_room
def _memory(model: Model, host: Host) -> Measured:
    """The peak of a process that prefills and decodes."""
    with Asked(EMULATED, _files(model, host).program, THREADS) as child:
        child.ask("prefill", _prompt(model, host))
        child.ask("decode", host.effort.tokens)
        found = child.ask("memory")
    if not found["weights"]:
        raise BenchError(f"{model.name}: its program has no weights")
    peak, weights = found["peak"], found["weights"]
    note = f"resident at most, of it {weights / GIGA:.2f} GB packed weights"
    return Measured(peak / GIGA, (weights + ALLOWANCE) / GIGA, note)
