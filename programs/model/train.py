"""Train Tessera's small language model from nothing, on text every CPython carries (see corpus.py).

A development-only step: it needs torch, transformers and tokenizers, and an hour of one core. The
result is a plain `LlamaForCausalLM` checkpoint in bfloat16 with its tokenizer. Training is seeded,
and resumes from `--work` if it was interrupted; with `--steps 0` it only writes out the checkpoint
that is there.

    python train.py --stdlib DIR ...        # other CPythons' standard libraries, for more text
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from corpus import HERE, size, training_documents
from evaluate_hf import token_losses
from held_out import document_ids, held_out_bytes, held_out_windows, score
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

Tokens = list[torch.Tensor]

END = "<|endoftext|>"
OUTPUT = HERE / "tessera-tiny"

SHAPE: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 608,
    "num_hidden_layers": 5,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SAMPLING: dict[str, Any] = {
    "do_sample": True,
    "temperature": 0.7,
    "top_k": 40,
    "max_new_tokens": 200,
}


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the model and write its checkpoint.")
    parser.add_argument(
        "--stdlib", type=Path, nargs="*", default=[], help="other standard libraries to learn from"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/train"), help="tokenizer, tokens and checkpoints"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the finished model goes")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--short-context", type=int, default=256, help="context of the first phase")
    parser.add_argument(
        "--long-share", type=float, default=0.3, help="share of the second phase, at full context"
    )
    parser.add_argument(
        "--muon-rate", type=float, default=0.015, help="peak learning rate of the matrices"
    )
    parser.add_argument(
        "--adam-rate", type=float, default=2e-3, help="peak learning rate of everything else"
    )
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument(
        "--average", type=float, default=0.997, help="decay of the averaged weights"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--every", type=int, default=100, help="steps between evaluations and checkpoints"
    )
    return parser.parse_args()


# ---------------------------------------------------------------------------------------- tokenizer


def train_tokenizer(documents: list[str]) -> Tokenizer:
    """A byte-level BPE over the corpus; any text can be encoded, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"],
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, end)]
    )
    return tokenizer


def encoded(tokenizer: Tokenizer, documents: list[str]) -> Tokens:
    """The tokens of each document, after an end-of-text token."""
    return [
        torch.tensor(document_ids(tokenizer, text)[:-1], dtype=torch.int16) for text in documents
    ]


def continuous(documents: list[str]) -> list[str]:
    """The longer paragraphs of the documents that have enough of them: what a reader would call
    prose.
    """
    longer = [
        [text for text in document.split("\n\n") if len(text.split()) >= 15]
        for document in documents
    ]
    return [
        "\n\n".join(texts) for texts in longer if sum(len(text.split()) for text in texts) >= 60
    ]


def prepare(work: Path, stdlibs: list[Path]) -> tuple[Tokenizer, list[Tokens]]:
    """The tokenizer, and the tokens of all training documents and of the continuous ones; kept in
    the work folder.
    """
    tokens, vocabulary = work / "tokens.pt", work / "tokenizer.json"
    if not tokens.exists():
        documents, _ = training_documents(stdlibs)
        tokenizer = train_tokenizer(documents)
        sets = [encoded(tokenizer, chosen) for chosen in (documents, continuous(documents))]
        print(
            f"corpus: {size(documents)}, {[sum(map(len, chosen)) for chosen in sets]} tokens",
            flush=True,
        )
        tokenizer.save(str(vocabulary))
        torch.save(sets, tokens)
    return Tokenizer.from_file(str(vocabulary)), torch.load(tokens)


def batch(documents: Tokens, step: int, context: int, options: argparse.Namespace) -> torch.Tensor:
    """One step's windows. The documents are one long ring, in another order each time round."""
    total = sum(map(len, documents))
    first = step * options.batch_tokens
    pieces: list[torch.Tensor] = []
    for turn in range(first // total, (first + options.batch_tokens) // total + 1):
        order = torch.randperm(
            len(documents), generator=torch.Generator().manual_seed(options.seed + turn)
        )
        pieces += [documents[i] for i in order.tolist()]
    offset = first % total
    stream = torch.cat(pieces)[offset : offset + options.batch_tokens + 1]
    return stream.long().unfold(0, context + 1, context)


# -------------------------------------------------------------------------------------------- model


def new_model() -> LlamaForCausalLM:
    """The untrained model; projections into the residual stream start smaller, as depth asks."""
    config = LlamaConfig(
        **SHAPE, rope_parameters=ROPE, bos_token_id=0, eos_token_id=0, use_cache=False
    )
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data /= math.sqrt(2 * SHAPE["num_hidden_layers"])
    return model


def add_dropout(model: LlamaForCausalLM, rate: float) -> None:
    """Dropout on the embeddings and on what each sub-layer adds, by hooks: the checkpoint stays a
    plain Llama.
    """

    def drop(module: torch.nn.Module, _: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (torch.nn.functional.dropout(output[0], rate, module.training), *output[1:])
        return torch.nn.functional.dropout(output, rate, module.training)

    model.model.embed_tokens.register_forward_hook(drop)
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(drop)
        layer.mlp.register_forward_hook(drop)


def optimizers(model: LlamaForCausalLM, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others: list[dict[str, Any]] = [
        {"params": [p for name, p in model.named_parameters() if "embed" in name]},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(matrices, lr=options.muon_rate, weight_decay=options.weight_decay),
        torch.optim.AdamW(
            others, lr=options.adam_rate, betas=(0.9, 0.98), weight_decay=options.weight_decay
        ),
    ]


def rate_factor(step: int, steps: int, warmup: int = 60) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Run:
    """One training run: the model, its optimizers, the averaged weights, and where it stands."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Start afresh, or where the checkpoint in the work folder left off."""
        torch.manual_seed(options.seed)
        self.options = options
        self.model = new_model()
        self.averaged = copy.deepcopy(self.model)
        add_dropout(self.model, options.dropout)
        self.optimizers = optimizers(self.model, options)
        self.peaks = [
            [group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers
        ]
        self.step = 0
        self.file = options.work / "checkpoint.pt"
        if self.file.exists():
            self.load()

    def load(self) -> None:
        """Continue from the checkpoint."""
        state = torch.load(self.file)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
        }
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save(state, self.file.with_suffix(".new"))
        self.file.with_suffix(".new").replace(self.file)

    def rows(self, sets: list[Tokens]) -> torch.Tensor:
        """This step's windows: first short ones, which are cheaper, of everything; then full-length
        ones of prose.
        """
        if self.step < (1 - self.options.long_share) * self.options.steps:
            return batch(sets[0], self.step, self.options.short_context, self.options)
        return batch(sets[1], self.step, SHAPE["max_position_embeddings"], self.options)

    def advance(self, sets: list[Tokens]) -> float:
        """One step; returns the training loss."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)
        self.model.train()
        rows = self.rows(sets)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(input_ids=rows[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), rows[:, 1:].flatten()
        )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        factor = rate_factor(self.step, self.options.steps)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            optimizer.step()
            optimizer.zero_grad()
        self.average()
        self.step += 1
        return loss.item()

    def average(self) -> None:
        """Let the averaged weights follow; faster while the run is young."""
        decay = min(self.options.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)


# ------------------------------------------------------------------------------------------- output


def export(model: LlamaForCausalLM, tokenizer: Tokenizer, output: Path) -> None:
    """Write the checkpoint folder beside its place and swap it in; files this does not write (the
    card) are kept.
    """
    finished = copy.deepcopy(model)
    for parameter in finished.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    finished.config.update({"use_cache": True, "dtype": "bfloat16"})
    finished.generation_config = GenerationConfig.from_dict(
        {"bos_token_id": 0, "eos_token_id": 0, **SAMPLING}
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    finished.save_pretrained(fresh)
    tokenizer.save(str(fresh / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
    }
    settings |= {
        "clean_up_tokenization_spaces": False,
        "model_max_length": SHAPE["max_position_embeddings"],
    }
    (fresh / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    swap(fresh, output)


def swap(fresh: Path, output: Path) -> None:
    """Move each new file over the old one: a reader sees whole files only."""
    output.mkdir(exist_ok=True)
    for path in sorted(fresh.iterdir()):
        path.chmod(0o644)
        path.replace(output / path.name)
    shutil.rmtree(fresh)


def measured(model: LlamaForCausalLM, rows: list[list[int]], text_bytes: int) -> str:
    """The held-out figures of a model, on one line."""
    return str(score([loss for losses in token_losses(model, rows) for loss in losses], text_bytes))


def steps(run: Run, sets: list[Tokens]) -> Iterator[None]:
    """Train to the end, logging the loss; yields whenever an evaluation is due."""
    started, first, total = time.time(), run.step, 0.0
    while run.step < run.options.steps:
        total += run.advance(sets)
        if run.step % 20 == 0:
            speed = (run.step - first) * run.options.batch_tokens / (time.time() - started)
            print(f"step {run.step} loss {total / 20:.4f}, {speed:.0f} tokens/s", flush=True)
            total = 0.0
        if run.step % run.options.every == 0 or run.step == run.options.steps:
            yield


def main() -> None:
    """Train, measuring the averaged weights as they go, and write the finished model."""
    chosen = options()
    torch.set_num_threads(chosen.threads)
    chosen.work.mkdir(parents=True, exist_ok=True)
    tokenizer, sets = prepare(chosen.work, chosen.stdlib)
    rows, text_bytes = held_out_windows(tokenizer), len(held_out_bytes())
    run = Run(chosen)
    print(
        f"{sum(p.numel() for p in run.model.parameters())} parameters, from step {run.step}",
        flush=True,
    )
    for _ in steps(run, sets):
        run.save()
        print(f"step {run.step} held out: {measured(run.averaged, rows, text_bytes)}", flush=True)
    export(run.averaged, tokenizer, chosen.output)


if __name__ == "__main__":
    main()
