"""`emu compile`: a Hugging Face checkpoint, or its config alone, to a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulator.errors import InputError
from emulator.status import Status
from isa.files import check_writable

if TYPE_CHECKING:
    from compiler.options import Options
    from isa.chip import Chip
    from isa.program import Program

#: What a checkpoint's directory holds that no program may replace.
MODEL_FILES = ("config.json", "tokenizer.json")
MODEL_SUFFIXES = (".safetensors", ".safetensors.index.json")


class _Command(click.Command):
    """A command whose help lists the knobs of the tiling."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The knobs, each with the values it may have."""
        from compiler.tiling import KNOBS

        with formatter.section("Knobs of --tiling"):
            formatter.write_dl(
                [(name, f"{knob.what}, {knob.least}..{knob.most}") for name, knob in KNOBS.items()]
            )


@click.command(name="compile", cls=_Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The program to write.")
@click.option("--chip", default="t1", show_default=True, help="A chip's name or YAML file.")
@click.option("--weights", default="mxfp4", show_default=True, help="Format of weight matrices.")
@click.option("--activations", default="mxfp8", show_default=True, help="Format of their inputs.")
@click.option("--kv", default="bf16", show_default=True, help="Format of the KV cache: bf16, fp8.")
@click.option("--lm-head", help="Format of the output matrix; as --weights if not given.")
@click.option("--scale-mode", default="round_up", show_default=True, help="round_up or floor.")
@click.option("--ksplit", type=int, default=1, help="Ranges of K: 1 for a decoder.")
@click.option("--context", type=int, help="Positions a sequence may have.  [default: up to 4096]")
@click.option("--rows", type=int, help="Tokens a step takes.  [default: as many as fit]")
@click.option("--sequences", type=int, default=8, show_default=True, help="Sequences in the cache.")
@click.option("--logit-rows", type=int, help="Rows a step may want logits of.")
@click.option("--top-k", type=int, default=40, show_default=True, help="Candidates ranked per row.")
@click.option("--split", type=int, help="Ways the array is divided.  [default: for few rows]")
@click.option("--without", multiple=True, help="Leave out a technique of the schedule (repeat).")
@click.option(
    "--tiling", default="", metavar="KNOB=N,...",
    help="Knobs of the schedule, such as slots=3,block=16; see below.",
)  # fmt: skip
@click.option(
    "--search", type=click.IntRange(1, 100_000), metavar="N",
    help="Try up to N programs with other tilings; write the best.",
)  # fmt: skip
@click.option(
    "--search-for", multiple=True, metavar="STEP",
    help="Search for a step: decode:batch=1,context=1024 (the default), or prefill:prompt=2048.",
)  # fmt: skip
@click.option("--search-seed", type=int, default=0, show_default=True, help="Chance of the search.")
@click.option(
    "--search-jobs", type=click.IntRange(1, 1024), default=2, show_default=True,
    help="Its processes; the result is the same for any number.",
)  # fmt: skip
@click.option("--search-json", metavar="FILE", help="Also write what was tried as JSON.")
@click.option("--no-weights", is_flag=True, help="Use config.json alone; the program can be timed.")
@click.option("--ignore-capacity", is_flag=True, help="With --no-weights: more HBM than there is.")
@click.option("--dump", help="Print a stage instead: graph, fused, plan, schedule or asm.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    model: Path, output: Path | None, chip: str, no_weights: bool, ignore_capacity: bool,
    dump: str | None, quiet: bool, tiling: str, search: int | None, search_for: tuple[str, ...],
    search_seed: int, search_jobs: int, search_json: str | None, **options: Any,
) -> None:  # fmt: skip
    """Compile the Hugging Face checkpoint in the directory MODEL to a program.

    \b
    emu compile programs/model/tessera-tiny --chip t1 --weights mxfp4 -o tiny.bin

    Formats of weights and activations: mxfp4, nvfp4, mxfp8, fp8 (E4M3FN), bf16. What is kept in
    other formats is printed, and recorded in the program. With --no-weights MODEL may also be a
    config.json.

    \b
    emu compile programs/configs/llama-3.1-8b --no-weights --tiling slots=3,block=16 -o tiled.bin
    emu compile programs/configs/llama-3.1-8b --no-weights --search 40 -o found.bin

    A tiling changes cycles and no bit. The compiler has a rule for each knob; --tiling takes its
    place. --search turns the knobs that are not given, times the steps of --search-for (repeat) on
    the simulated chip, prints what was tried and writes the best program. What was timed once is
    kept, so that the same search again is answered at once.
    """
    from compiler.options import Options
    from compiler.tiling import Tiling
    from isa.chip import load_chip

    if ignore_capacity and not no_weights:
        raise InputError(
            "--ignore-capacity: a program beyond the chip's capacity can only be timed; "
            "add --no-weights"
        )
    chosen = Options(**options, tiling=Tiling.parse(tiling))
    machine = load_chip(chip)
    if machine.hbm.bytes == 0:
        _refuse_without_hbm(model, chip, chosen)
    if search is None and (search_for or search_json):
        raise InputError("--search-for, --search-json: say how many programs with --search N")
    if output is not None and dump is None:
        _check_output(model, output)
    if search is not None:
        chosen = _searched(
            model, machine, chosen, ignore_capacity,
            steps=search_for, limits=(search, search_seed, search_jobs),
            json_file=search_json, quiet=quiet,
        )  # fmt: skip
    if dump is not None:
        click.echo(_dumped(model, machine, chosen, dump))
        return
    if output is None:
        raise InputError("-o PROGRAM is needed (or --dump STAGE)")
    with Status("compiling"):
        program = _compiled(model, machine, chosen, no_weights, ignore_capacity)
    _save(program, output, quiet)


def _searched(
    model: Path,
    chip: Chip,
    options: Options,
    ignore_capacity: bool,
    *,
    steps: Sequence[str],
    limits: tuple[int, int, int],
    json_file: str | None,
    quiet: bool,
) -> Options:
    """The options with the best tiling that a search finds; prints what was tried."""
    from compiler.api import DEFAULT_CONTEXT
    from compiler.config import ModelConfig
    from emulator.search import found, table
    from emulator.search.steps import DECODE, Step
    from emulator.search.subject import Subject
    from isa.files import write_json

    config = ModelConfig.load(model)
    most = options.context or min(config.max_positions, DEFAULT_CONTEXT)
    wanted = [Step.parse(step) for step in steps] or [Step(DECODE, 1, min(most, 1024))]
    if json_file is not None:
        check_writable(json_file)
    subject = Subject(config, chip, options, ignore_capacity)
    result = found.search(subject, wanted, found.Limits(*limits), "searching")
    if not quiet:
        for line in table.lines(result):
            click.echo(line)
    if json_file is not None:
        write_json(json_file, result.json())
    return subject.with_tiling(result.tiling)


def _refuse_without_hbm(model: Path, chip: str, options: Options) -> None:
    """Say how many such chips the model would take."""
    from compiler.config import ModelConfig
    from emulator.explore.economics.part import Part
    from emulator.explore.placement import check_placement

    check_placement(Part.load(chip), ModelConfig.load(model), options)


def _compiled(
    model: Path, chip: Chip, options: Options, no_weights: bool, ignore_capacity: bool
) -> Program:
    from compiler.api import compile_checkpoint, compile_config
    from compiler.config import ModelConfig

    if no_weights:
        return compile_config(ModelConfig.load(model), chip, options, ignore_capacity)
    _check_checkpoint(model)
    return compile_checkpoint(model, chip, options)


def _dumped(model: Path, chip: Chip, options: Options, stage: str) -> str:
    """The text of one stage; weights are not looked at."""
    from compiler.api import STAGES, compile_stages, dump
    from compiler.config import ModelConfig

    if stage not in STAGES:
        raise InputError(f"--dump: {stage!r} is none of {', '.join(STAGES)}")
    return dump(compile_stages(ModelConfig.load(model), chip, options), stage)


def _check_output(model: Path, output: Path) -> None:
    """Refuse now what could not be written after long work, or would replace the model's files."""
    directory = model if model.is_dir() else model.parent
    real = output.resolve()
    if real.parent == directory.resolve() and (
        real.name in MODEL_FILES or real.name.endswith(MODEL_SUFFIXES)
    ):
        raise InputError(f"{output}: is one of the model's own files; choose another one")
    check_writable(output)


def _check_checkpoint(model: Path) -> None:
    """What a program with weights needs besides config.json."""
    if model.is_file():
        raise InputError(f"{model}: is a file; give the checkpoint's directory, or --no-weights")
    tokenizer = model / "tokenizer.json"
    if tokenizer.is_file():
        from emulator.tokenizer import Tokenizer

        Tokenizer(tokenizer.read_bytes(), (), str(tokenizer))


def _save(program: Program, output: Path, quiet: bool) -> None:
    from emulator.progress import progress
    from isa.program import save

    total = sum(region.size for region in program.regions if region.source is not None)
    with progress(f"writing {output}", total) as advance:
        save(program, output, progress=advance)
    if not quiet:
        for line in summary(program, output):
            click.echo(line)


def summary(program: Program, output: Path) -> list[str]:
    """What was made, and in which formats everything is."""
    meta = program.metadata
    cap, size = meta["capacity"], output.stat().st_size
    lines = [
        f"{output}: {meta['model']['family']}, {len(program.code)} instructions, "
        f"{size / 1e6:,.1f} MB, for {program.chip.name}",
        f"  {cap['rows']} rows a step, {cap['sequences']} sequences of {cap['context']} positions",
    ]
    beyond = meta.get("beyond_capacity")
    if beyond:
        lines.append(
            f"  needs {beyond['hbm_bytes'] / 1e9:,.1f} GB of HBM, and {program.chip.name} has "
            f"{beyond['chip_hbm_bytes'] / 1e9:,.1f}: it can be timed by emu run --ignore-capacity"
        )
    lines += [f"  {what}: {kept}" for what, kept in meta["precision"].items()]
    return lines
