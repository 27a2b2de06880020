"""What all tests share: Hypothesis profiles and golden files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from isa.program import Program

GOLDEN = Path(__file__).parent / "golden"

settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("default", deadline=None)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden."""
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing"
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str, str], None]:
    """Compare a text with tests/golden/NAME, or write it there with --update-golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update_golden:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest --update-golden and look at it"
        assert text == path.read_text(encoding="utf-8"), f"{path} differs"

    return compare


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A decoder of two layers for t1-mini, with weights."""
    import tiny_models

    from compiler.api import compile_checkpoint
    from compiler.options import Options
    from isa.chip import load_chip

    path = tmp_path_factory.mktemp("tiny")
    tiny_models.write_model(path, tiny_models.CONFIGS["qwen3"])
    options = Options("mxfp4", "mxfp8", context=256, sequences=4, rows=40, top_k=5)
    return compile_checkpoint(path, load_chip("t1-mini"), options)
