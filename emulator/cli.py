"""The command line. Commands are imported when they are run, so that `emu --help` is instant."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from isa.errors import TesseraError

#: Command -> the line that help shows for it. Its code is `emulator.commands.NAME:command`.
COMMANDS = {
    "compile": "Compile a Hugging Face checkpoint to a program.",
    "run": "Run a program: tokens, bits, cycles and the report.",
    "asm": "Assemble a source file to a program.",
    "disasm": "Show a program as assembly text.",
    "info": "Show what a program file holds.",
    "chips": "List, explain and compare the chips there are.",
    "conformance": "Hold another implementation of the ISA against this one's bits.",
    "bench": "Measure the emulator's speed beside this machine's limits.",
    "explore": "Time many chips, formats and workloads, and compare them.",
    "validate": "Hold predicted cycles against measured ones.",
    "warmup": "Compile all kernels now, so that later commands start at once.",
}

EXIT_INPUT = 2  # bad input or usage
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # as a program that SIGPIPE ends
MOST_LINES = 20  # of one error: a deadlock has a fault for every unit of every tile


class LazyGroup(click.Group):
    """A group that lists its commands without importing them."""

    table = COMMANDS
    package = "emulator.commands"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order a user meets them."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.table:
            return None
        module = importlib.import_module(f"{self.package}.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    from isa.spec import ISA_VERSION

    try:
        release = version("tessera")
    except PackageNotFoundError:
        release = "(not installed)"
    click.echo(f"emu {release}, ISA {ISA_VERSION[0]}.{ISA_VERSION[1]}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 the program faulted or a case failed, 2 bad input or usage.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version,
    help="Show the versions and exit.",
)  # fmt: skip
def emu() -> None:
    """Compile, run and inspect programs for the Tessera chip."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `emu` and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """The exit status of `emu ARGUMENTS`. Errors become lines on standard error."""
    try:
        status = _invoke(arguments)
        sys.stdout.flush()
        return status
    except click.ClickException as error:
        return _usage(error)
    except TesseraError as error:
        return _report(str(error), error.exit_status)
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        return _abandon_output()
    except OSError as error:
        place = error.filename or "input or output"
        return _report(f"{place}: {(error.strerror or str(error)).lower()}", EXIT_INPUT)
    except MemoryError:
        return _report("not enough memory for this program on this machine", EXIT_INPUT)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        with emu.make_context("emu", list(arguments)) as context:
            emu.invoke(context)
    except click.exceptions.Exit as wanted:
        return int(wanted.exit_code)
    return 0


def _usage(error: click.ClickException) -> int:
    """A usage error as one line that says where help is."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return EXIT_INPUT
    message = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; see `{context.command_path} --help`" if context else ""
    return _report(message + hint, EXIT_INPUT)


def _report(message: str, status: int) -> int:
    """Print an error, each of its lines that starts one as `emu: error: ...`."""
    lines = message.splitlines() or ["unknown error"]
    for line in lines[:MOST_LINES]:
        # Indented lines belong to the one above: source text and the caret below it.
        print(line if line.startswith(" ") else f"emu: error: {line}", file=sys.stderr)
    if len(lines) > MOST_LINES:
        print(f"emu: error: and {len(lines) - MOST_LINES} more lines", file=sys.stderr)
    return status


def _abandon_output() -> int:
    """Whoever read our output has left: end without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # or the interpreter complains when it flushes
    return EXIT_BROKEN_PIPE


if __name__ == "__main__":
    main()
