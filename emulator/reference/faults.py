"""What stops an instruction of the reference model: a fault, or undefined behaviour."""

from __future__ import annotations

from isa.errors import TesseraError
from isa.faults import Fault


class ArchitectedFault(Exception):
    """Raised by a semantic function; the scheduler stops the unit and reports it."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault.name.lower()}: {detail}")
        self.fault = fault
        self.detail = detail


class UndefinedBehaviour(TesseraError):
    """The program asks for something that the ISA gives no result for; only the reference tells."""

    exit_status = 1


def require(condition: bool, fault: Fault, detail: str = "") -> None:
    """Raise the fault unless the condition holds."""
    if not condition:
        raise ArchitectedFault(fault, detail)
