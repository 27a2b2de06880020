"""transformers' side of the comparison; imports torch, so only tests marked `hf` use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import truth
from transformers import AutoModelForCausalLM


def answer(family: str, directory: Path) -> truth.Truth:
    """Greedy continuation in fp32, then the logits of all positions in fp32 and in bf16."""
    torch.set_num_threads(1)
    tokens = truth.prompt(family)
    model = _load(directory, torch.float32)
    for _ in range(truth.NEW - 1):
        tokens.append(int(_logits(model, tokens)[-1].argmax()))
    logits = _logits(model, tokens)
    half = _logits(_load(directory, torch.bfloat16), tokens)
    return truth.Truth(np.array(tokens), logits, float(np.abs(half - logits).max()))


def _load(directory: Path, dtype: torch.dtype) -> torch.nn.Module:
    # eager: the implementation that follows the model's own definition
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager"
    )
    return model.eval()


def _logits(model: torch.nn.Module, tokens: list[int]) -> truth.F32:
    with torch.no_grad():
        found = model(input_ids=torch.tensor([tokens])).logits[0].float()
    return np.asarray(found.numpy())
