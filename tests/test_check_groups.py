"""Steps of several row groups, checked: what brings activations and what multiplies them agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import compiled, emu, write_checkpoint

GROUP = 128  #: rows of a row group on t1-mini; the program takes more in a step


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder that takes two row groups in a step."""
    folder = tmp_path_factory.mktemp("groups")
    model = write_checkpoint(folder / "model", hidden_size=256, max_position_embeddings=512)
    return compiled(model, folder / "model.bin")


@pytest.mark.parametrize("tokens", [GROUP - 1, GROUP + 8, 2 * GROUP - 11])
def test_a_prompt_and_what_follows_have_no_findings(path: Path, tokens: int) -> None:
    prompt = ",".join(str(5 + token % 40) for token in range(tokens))
    run = ("run", path, "--tokens", prompt, "--max-new-tokens", "3", "--ignore-eos")
    result = emu(*run, "--check")
    assert result.status == 0 and "check: no findings" in result.err
