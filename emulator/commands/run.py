"""`emu run`: execute a program, print what it says and what it cost."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="run")
@click.argument("program", type=click.Path(path_type=Path))
@click.option("--prompt", help="Text to continue (needs the program's tokenizer).")
@click.option("--tokens", help="Prompt as token numbers: 1,2,3.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE.npy",
    help="Write a symbol before running (programs that are no decoders).",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME=FILE.npy",
    help="Save a symbol after running; `logits` of a decoder: every step's, fp32.",
)
@click.option("--entry", help="Entry to ring (programs that are no decoders).")
@click.option("--max-new-tokens", type=int, default=32, show_default=True)
@click.option("--temperature", type=float, default=0.0, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=int, help="Candidates to draw from.  [default: up to 40]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the numbers drawn.")
@click.option("--chunk", type=int, help="Prompt tokens a step.  [default: as many as it takes]")
@click.option("--ignore-eos", is_flag=True, help="Go on after the end-of-text token.")
@click.option("--chip", help="Another chip's name or YAML: same sizes, other speeds.")
@click.option(
    "--executor",
    type=click.Choice(["fast", "reference"]),
    default="fast",
    show_default=True,
    help="reference: slow, obvious, the truth.",
)
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--timing-only", is_flag=True, help="Cycles without values; needs no weights.")
@click.option(
    "--fold-layers",
    default="auto",
    metavar="[auto|all|N]",
    help="Time N layers and take the others to be like those; values are of all layers.  [default: "
    "all; with --timing-only, 4 of models with more than 40]",
)
@click.option(
    "--time-every",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Time every N-th decode step, and take each other to be like the nearest of those.",
)
@click.option(
    "--ignore-capacity",
    is_flag=True,
    help="With --timing-only: time a program that needs more HBM than the chip has.",
)
@click.option(
    "--check",
    "checked",
    is_flag=True,
    help="Look for races, unwritten bytes and unbalanced semaphores; explain deadlocks.",
)
@click.option("--no-timing", is_flag=True, help="Values without cycles.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the result as JSON (docs/report.md); - is standard output.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a timeline that Perfetto opens: FILE.pftrace of units, FILE.json of operations.",
)
@click.option(
    "--konata", type=click.Path(path_type=Path), metavar="FILE", help="Write a pipeline log."
)
@click.option(
    "--window",
    metavar="FIRST:COUNT",
    help="With --konata: instructions, in the order of their issue.  [default: 0:10000]",
)
@click.option("--trace-steps", metavar="FIRST:COUNT", help="Trace these steps.  [default: all]")
@click.option("--trace-tiles", metavar="FIRST:COUNT", help="Trace these tiles.  [default: all]")
@click.option("--explain", is_flag=True, help="Print why operations took longer than their bounds.")
@click.option("--quiet", is_flag=True, help="Print the text alone, without the report.")
def command(**options: object) -> None:
    """Run PROGRAM: a decoder writes text, any other program turns symbols into symbols.

    \b
    emu run tiny.bin --prompt "A list is" --max-new-tokens 40 --temperature 0.7 --seed 1
    emu run big.bin --timing-only --tokens 1,2,3 --json result.json
    emu run gemm.bin --input a=a.npy --input b=b.npy --output c=c.npy

    Standard output gets the text (without a tokenizer: the tokens' numbers) and then the report;
    errors are one line, status 2 for bad input, 1 for a fault of the program or what --check finds.
    """
    from emulator.run import Options, run

    run(Options(**options))  # type: ignore[arg-type]
