"""Multi-objective search by Optuna: NSGA-II or TPE.

Points are asked for in rounds of the study's `population`, whatever the executor, and told in the
order in which they were asked: so the same seed finds the same points on any number of processes,
and a search that was killed goes the same way again, finding what it had timed in the store.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from emulator.explore.errors import extra
from emulator.explore.point import Point
from emulator.explore.rows import OK, VIOLATES, Row
from emulator.explore.sampling import at
from emulator.explore.study import Study

if TYPE_CHECKING:
    from emulator.explore.run import Runner

_ALLOWED = "allowed"  #: name of a trial's attribute: 0 if it meets the constraints, else 1


def search(runner: Runner) -> list[Point]:
    """Every point that was tried, each once. Raises MissingExtra."""
    from emulator.explore.run import identity

    optuna = _optuna()
    study, tried = runner.study, dict[Any, Point]()
    session = optuna.create_study(
        directions=["minimize"] * len(study.objectives), sampler=_sampler(optuna, study)
    )
    left = study.sampling.n
    while left:
        trials = [session.ask() for _ in range(min(left, study.sampling.population))]
        points = [study.points.point(_values(study, trial)) for trial in trials]
        runner.time(points)
        for trial, point, row in zip(trials, points, _rows(runner, points), strict=True):
            _tell(optuna, session, trial, study, row)
            tried.setdefault(identity(point), point)
        left -= len(trials)
    return list(tried.values())


def _optuna() -> Any:
    optuna = extra("optuna", "sampling: search", "explore")
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def _sampler(optuna: Any, study: Study) -> Any:
    chosen = study.sampling
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library calls its constraints experimental
        if chosen.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=chosen.seed, constraints_func=_constraints)
        return optuna.samplers.NSGAIISampler(
            population_size=chosen.population, seed=chosen.seed, constraints_func=_constraints
        )


def _constraints(trial: Any) -> tuple[float, ...]:
    """How much a trial violates the constraints: above 0 is too much."""
    return (float(trial.user_attrs.get(_ALLOWED, 1)),)


def _values(study: Study, trial: Any) -> dict[str, Any]:
    """A trial's choice on every axis; axes are lists, so an index each."""
    place = tuple(
        trial.suggest_int(name, 0, len(values) - 1) for name, values in study.axes.items()
    )
    return at(study, place)


def _rows(runner: Runner, points: list[Point]) -> list[Row]:
    """Rows of the points, in their order."""
    from emulator.explore.run import judged

    return judged(runner.judge, runner.store, points, runner.counts.errors)


def _tell(optuna: Any, session: Any, trial: Any, study: Study, row: Row) -> None:
    found = [(row.metrics[each.name], each.sign) for each in study.objectives]
    trial.set_user_attr(_ALLOWED, 0 if row.status == OK else 1)
    if row.status in (OK, VIOLATES) and all(value is not None for value, _ in found):
        session.tell(trial, [value * sign for value, sign in found if value is not None])
    else:
        session.tell(trial, state=optuna.trial.TrialState.FAIL)
