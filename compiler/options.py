"""What a user chooses when compiling; everything here is recorded in the program."""

from dataclasses import InitVar, dataclass, fields

from compiler.errors import CompileError
from compiler.precision import KV_FORMATS, precision
from compiler.tiling import RULES, Tiling

LIMIT = 1 << 20
#: What the schedule does to be fast. Each can be left out, to see what it is worth; no bit changes.
TECHNIQUES = {
    "prefetch": "weights of later phases and layers stream in while earlier ones compute",
    "multicast": "row groups share weights: each brings a part of them, and writes it to all",
    "groups": "steps of many rows give each group of clusters its own rows",
    "page-split": "the pages of a sequence are attended to on different tiles",
    "early-pages": "pages of earlier steps are read before this step's keys are known",
    "pages-first": "weights wait while the keys and values of many sequences stream in",
    "staged-pages": "in steps of several row groups, pages of earlier steps are read once for all",
    "resident-kv": "the cache's first pages stay in CSRAM from step to step, as many as fit",
    "lent-pages": "between attention and the next pages, weights use the pages' memory as well",
    "fused-heads": "in steps of several row groups, tiles finish the heads that they multiply",
    "fused-norm": "steps of few rows are normalised where they are used",
}


@dataclass(frozen=True)
class Options:
    """Compile options.

    Formats: ``weights``, ``activations`` and ``lm_head`` name a precision, ``kv`` the cache's
    format; these and ``scale_mode`` are the numeric options, the only ones that change bits.
    Capacities: ``rows`` tokens a step, ``sequences`` in the cache, ``logit_rows`` rows a step that
    may want logits, ``context`` positions a sequence, ``top_k`` candidates a row; ``None`` lets
    the compiler choose (and record) one. ``split`` is how the array is divided for weight
    matrices; ``None`` divides it for few rows. ``without`` names TECHNIQUES to leave out.
    ``tiling`` takes the place of the schedule's rules (`compiler.tiling`).
    ``ksplit`` is a numeric option too, but a decoder's is 1: it is checked, and not kept.
    """

    weights: str = "mxfp4"
    activations: str = "mxfp8"
    kv: str = "bf16"
    lm_head: str | None = None
    scale_mode: str = "round_up"
    rows: int | None = None
    sequences: int = 8
    logit_rows: int | None = None
    context: int | None = None
    top_k: int = 40
    split: int | None = None
    without: tuple[str, ...] = ()
    tiling: Tiling = RULES
    ksplit: InitVar[int] = 1

    def __post_init__(self, ksplit: int) -> None:
        """Refuse what cannot be meant. Raises CompileError."""
        if ksplit != 1:
            raise CompileError(
                f"--ksplit: expected 1, got {ksplit}: a decoder has K of its matrices in one "
                "range; single products take several (compiler.operators.gemm)"
            )
        precision(self.weights, "--weights")
        precision(self.activations, "--activations")
        precision(self.lm_head or self.weights, "--lm-head")
        if self.kv not in KV_FORMATS:
            raise CompileError(f"--kv: '{self.kv}' is not supported; choose one of bf16, fp8")
        if self.scale_mode not in ("round_up", "floor"):
            raise CompileError(f"--scale-mode: '{self.scale_mode}' is neither round_up nor floor")
        if self.split not in (None, 1, 2, 4):
            raise CompileError(f"--split: expected 1, 2 or 4, got {self.split}")
        if self.split is not None and self.tiling.skinny is not None:
            raise CompileError("--tiling: skinny: --split says how the array is divided; give one")
        for name in self.without:
            if name not in TECHNIQUES:
                known = ", ".join(TECHNIQUES)
                raise CompileError(f"--without: '{name}' is not a technique; choose of {known}")
        for name in ("rows", "sequences", "logit_rows", "context", "top_k"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= LIMIT:
                option = "--" + name.replace("_", "-")
                raise CompileError(f"{option}: expected an integer in 1..{LIMIT}, got {value}")

    def numeric(self) -> dict[str, str | int | float]:
        """The options that decide bits, as recorded in the program."""
        return {
            "weights": self.weights,
            "activations": self.activations,
            "kv": self.kv,
            "lm_head": self.lm_head or self.weights,
            "scale_mode": self.scale_mode,
            "ksplit": 1,
            "activation_tensor_scale": 1.0,  # NVFP4 activations: uncalibrated
        }

    def record(self) -> dict[str, object]:
        """Every option, for the program's metadata; of the tiling what was given, if anything."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        del found["tiling"]
        return found | ({"tiling": self.tiling.given()} if self.tiling != RULES else {})
