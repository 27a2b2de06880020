"""The schedule: what it says is what runs, its checks can fail, and no technique changes a bit."""

from __future__ import annotations

import pytest
from check_runs import checked
from decoder_runs import SMALL, Model, chunks, mini, play
from graph_model import Numeric

NUMERIC = Numeric("mxfp4", "mxfp8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model whose panels no number of tiles divides."""
    return Model.make(tmp_path_factory.mktemp("model"), SMALL["llama"])


# ---- activations that tiles of a cluster bring for one another


@pytest.mark.xfail(
    strict=True,
    reason="race: without early pages, dma5 reads half of a page's values, and waits for no barrier "
    "behind the `heads` of other tiles, which write them to the cache (attention_pages._load)",
)
@pytest.mark.parametrize(("clusters", "tiles"), [(2, 2), (1, 5)])
def test_activations_are_shared_by_tiles_with_unequal_parts(
    model: Model, clusters: int, tiles: int
) -> None:
    chip = mini(clusters, tiles)
    program = model.compile(chip, NUMERIC, rows=64, sequences=2, context=256, top_k=3)
    machine = checked(program, chip)
    text = model.text(130, 1)
    played = play(machine, {"text": text}, chunks("text", 130, 60))
    assert machine.findings() == [], machine.text()
    played.check("text", model.expected(NUMERIC, text))
