"""`emu conformance list`: the names of the cases."""

from __future__ import annotations

from pathlib import Path

import click

from emulator.commands.conformance.options import kit_option, selection


@click.command("list")
@selection
@kit_option
def command(
    profiles: tuple[str, ...], full: bool, chip: str, kit: Path | None, globs: tuple[str, ...]
) -> None:
    """Print the names of the cases, one a line.

    \b
    emu conformance list --profile vpu
    emu conformance list --case '*nan*' | wc -l
    """
    for name in _names(profiles, full, chip, kit, globs):
        click.echo(name)


def _names(
    profiles: tuple[str, ...], full: bool, chip: str, kit: Path | None, globs: tuple[str, ...]
) -> list[str]:
    from emulator.conformance.folder import (
        check_profiles,
        nothing_selected,
        open_folder,
        wanted_name,
    )
    from emulator.conformance.kit import for_chip, makers
    from isa.chip import load_chip

    check_profiles(profiles)
    if kit is not None:
        return [entry.name for entry in open_folder(kit).select(profiles, globs, full)]
    cases = for_chip(makers(profiles or ("full",), full), load_chip(chip))
    names = [maker.name for maker in cases]
    found = [name for name in names if wanted_name(name, globs)]
    if not found:
        raise nothing_selected(profiles, globs)
    return found
