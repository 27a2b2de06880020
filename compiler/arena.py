"""Bump allocation of one memory space."""

from dataclasses import dataclass, field

from compiler.errors import CompileError

ALIGN = 64  #: bytes: of addresses in SRAM


class DoesNotFit(CompileError):
    """A memory is too small for what was asked of it."""


@dataclass
class Arena:
    """Hands out addresses upwards from `top`; raises DoesNotFit beyond `size` bytes."""

    name: str
    size: int
    align: int = ALIGN
    top: int = 0
    names: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, name: str, nbytes: int) -> int:
        """Address of `nbytes` new bytes."""
        base = -(-self.top // self.align) * self.align
        if base + nbytes > self.size:
            raise DoesNotFit(
                f"{self.name}: {name} needs {nbytes} bytes at {base}, but there are {self.size}"
            )
        self.top = base + nbytes
        self.names[name] = (base, nbytes)
        return base
