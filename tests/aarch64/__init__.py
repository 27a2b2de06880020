"""The kernels on aarch64, from any machine: compiled, read, and run in an emulated processor.

compiled.py     Numba with its code generator turned to aarch64: LLVM IR, assembly, objects
contract.py     what must hold in them for the bits to be the contract's
linked.py       an object as bytes that run at an address
processor.py    an emulated processor that calls kernels on this process's memory
replaced.py     pytest, or `emu`, with these kernels in place of this machine's
"""
