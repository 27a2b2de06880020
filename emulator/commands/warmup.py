"""`emu warmup`: compile everything now, so that no later command has to."""

from __future__ import annotations

import click


@click.command("warmup")
def command() -> None:
    """Compile all kernels, the executor and the timing model into the cache.

    Later commands then start at once. What is in the cache already is not compiled again; the cache
    is under $NUMBA_CACHE_DIR, $XDG_CACHE_HOME/tessera or ~/.cache/tessera. It needs no clearing:
    entries unused for a month, and all but the 512 used last, are removed by themselves.
    """
    import time

    from emulator.bench.warmup import steps
    from emulator.progress import progress

    start, work = time.perf_counter(), steps()
    with progress("compiling", len(work)) as advance:
        for _name, step in work:
            step()
            advance(1)
    click.echo(f"{len(work)} parts compiled or found in {time.perf_counter() - start:.1f} s")
