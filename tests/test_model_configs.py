"""The shipped shapes of public models are those models: every parameter is accounted for."""

from math import prod
from pathlib import Path

import pytest

from compiler.config import ModelConfig, expected_tensors

CONFIGS = Path(__file__).parent.parent / "programs" / "configs"

#: Parameters of the published checkpoints; layers; KV heads x width.
PUBLISHED = {
    "llama-3.2-1b": (1_235_814_400, 16, 8 * 64),
    "llama-3.1-8b": (8_030_261_248, 32, 8 * 128),
    "llama-3.1-70b": (70_553_706_496, 80, 8 * 128),
    "llama-3.1-405b": (405_853_388_800, 126, 8 * 128),
    "qwen3-0.6b": (596_049_920, 28, 8 * 128),
    "qwen3-1.7b": (1_720_574_976, 28, 8 * 128),
    "qwen3-4b": (4_022_468_096, 36, 8 * 128),
    "qwen3-8b": (8_190_735_360, 36, 8 * 128),
    "qwen3-14b": (14_768_307_200, 40, 8 * 128),
    "qwen3-32b": (32_762_123_264, 64, 8 * 128),
}


def test_every_config_is_checked() -> None:
    assert {path.parent.name for path in CONFIGS.glob("*/config.json")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_config_has_the_published_parameters(name: str) -> None:
    config = ModelConfig.load(CONFIGS / name)
    parameters, layers, kv_width = PUBLISHED[name]
    assert sum(prod(shape) for shape in expected_tensors(config).values()) == parameters
    assert (config.layers, config.kv_heads * config.head_dim) == (layers, kv_width)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_readme_states_the_parameters(name: str) -> None:
    line = f"| `{name}` | {PUBLISHED[name][0]:,} |"
    assert line in (CONFIGS / "README.md").read_text()
