"""The directives of assembly: what each one reads, and what it adds to the program."""

import base64
import json
from collections.abc import Callable

import numpy as np

from isa.asm_descriptor import read_choice, read_descriptor, read_int64, read_tensor_type
from isa.asm_draft import Draft
from isa.asm_expr import Number, expression
from isa.asm_lex import Cursor, SyntaxFault, Token, suggest, unquote
from isa.asm_operands import pattern_of
from isa.asm_scope import is_register
from isa.formats import FORMATS, Format, encode, pack_nibbles
from isa.program import Region, RegionClass, Role, Symbol


def _chip(cursor: Cursor, draft: Draft) -> None:
    """`.chip t1-mini`, or `.chip name key=value ...` for one with this very architecture."""
    start = cursor.next
    if start.kind == "string":
        name = unquote(cursor.take())
    else:
        name = "".join(iter(lambda: _chip_part(cursor), ""))
    architecture = {}
    while not cursor.at_end():
        key = cursor.name("a key")
        cursor.expect("=")
        value = cursor.next
        architecture[key] = read_int64(cursor, draft.scope.value)
        if architecture[key] < 0:
            raise SyntaxFault(value, f"{key} cannot be negative")
    draft.set_chip(start, name, architecture)


def _chip_part(cursor: Cursor) -> str:
    """The next piece of a chip's bare name or path, which may contain `-` and `/`."""
    is_key = cursor.next.kind == "name" and cursor.after.is_op("=")
    return "" if is_key or cursor.at_end() else cursor.take().text


def _const(cursor: Cursor, draft: Draft) -> None:
    """`.const NAME = expression`."""
    token = _new_name(cursor, draft)
    cursor.expect("=")
    draft.scope.define(draft.scope.constants, token, expression(cursor, draft.scope.value))


def _alias(cursor: Cursor, draft: Draft) -> None:
    """`.alias name = d3`: another name for a register."""
    token = _new_name(cursor, draft)
    cursor.expect("=")
    register = cursor.take()
    if not is_register(register.text):
        raise SyntaxFault(register, f"expected a register, found {register.shown()}")
    if token.text in draft.scope.aliases:
        raise SyntaxFault(token, f"'{token.text}' is defined twice")
    draft.scope.aliases[token.text] = register.text


def _new_name(cursor: Cursor, draft: Draft) -> Token:
    token = cursor.next
    cursor.name("a name")
    draft.scope.check_word(token)
    return token


def _desc(cursor: Cursor, draft: Draft) -> None:
    """`.desc name space:address format[shape] ...` (see `isa.asm_descriptor`)."""
    token = _new_name(cursor, draft)
    words = read_descriptor(cursor, draft.scope.value, draft.scope.region)
    draft.scope.define(draft.scope.descriptors, token, len(draft.descriptors))
    draft.descriptors.append(words)


def _region(cursor: Cursor, draft: Draft) -> None:
    """`.region name address size class [ro] [omitted]`."""
    token = cursor.next
    name = cursor.name("a region's name")
    base = read_int64(cursor, draft.scope.value)
    size = read_int64(cursor, draft.scope.value)
    kind = read_choice(cursor, RegionClass, "a class of regions")
    words = set()
    while cursor.next.kind == "name" and cursor.next.text in ("ro", "omitted"):
        words.add(cursor.take().text)
    draft.scope.define(draft.scope.regions, token, base)
    draft.remember("region", name, token)
    region = Region(name, base, size, kind, "ro" not in words, omitted="omitted" in words)
    draft.regions.append(region)


def _symbol(cursor: Cursor, draft: Draft) -> None:
    """`.symbol name address format[shape] role`."""
    token = cursor.next
    name = cursor.name("a symbol's name")
    address = read_int64(cursor, draft.scope.region)
    fmt, shape = read_tensor_type(cursor, draft.scope.value)
    role = read_choice(cursor, Role, "a role")
    draft.scope.define(draft.scope.symbols, token, address)
    draft.remember("symbol", name, token)
    draft.symbols.append(Symbol(name, address, shape, fmt, role))


def _data(cursor: Cursor, draft: Draft) -> None:
    """`.data region format[values]` or `.data region "hex"`, each behind what came before."""
    token = cursor.next
    name = cursor.name("a region's name")
    region = next((region for region in draft.regions if region.name == name), None)
    if region is None:
        known = [region.name for region in draft.regions]
        raise SyntaxFault(token, f"unknown region '{name}'{suggest(name, known)}")
    data = draft.data.setdefault(name, bytearray())
    data += _hex(cursor.take()) if cursor.next.kind == "string" else _values(cursor, draft)
    if len(data) > region.size:
        raise SyntaxFault(token, f"{len(data)} bytes of data for a region of {region.size}")


def _hex(token: Token) -> bytes:
    try:
        return bytes.fromhex(unquote(token))
    except ValueError:
        raise SyntaxFault(token, "expected pairs of hexadecimal digits") from None


def _values(cursor: Cursor, draft: Draft) -> bytes:
    fmt = read_choice(cursor, Format, "a format or a string of hexadecimal digits")
    cursor.expect("[")
    raw: list[tuple[Token, Number]] = []
    while not cursor.accept("]"):
        if raw:
            cursor.expect(",")
        start = cursor.next
        raw.append((start, expression(cursor, draft.scope.value)))
    info = FORMATS[fmt]
    if not info.is_float or fmt is Format.E8M0:
        return np.array([_code(fmt, *item) for item in raw], info.dtype).tobytes()
    patterns = np.array([_fp32(token, value) for token, value in raw], np.uint32)
    codes = encode(fmt, patterns.view(np.float32))
    return pack_nibbles(codes.astype(np.uint8)).tobytes() if info.bits == 4 else codes.tobytes()


def _fp32(token: Token, value: Number) -> int:
    """The FP32 pattern of a value; an integer counts as a number here."""
    try:
        return pattern_of(token, float(value))
    except OverflowError:
        raise SyntaxFault(token, "the value is too large") from None


def _code(fmt: Format, token: Token, value: Number) -> int:
    """A value that is stored as it is."""
    limits = np.iinfo(FORMATS[fmt].dtype)
    if isinstance(value, float) or not limits.min <= value <= limits.max:
        raise SyntaxFault(token, f"{value} is no {fmt.name} code")
    return value


def _entry(cursor: Cursor, draft: Draft) -> None:
    """`.entry name`: an entry here; `.entry name = label`: one there."""
    token = cursor.next
    name = cursor.name("an entry's name")
    draft.scope.define(draft.scope.entries, token, draft.pc)
    draft.remember("entry", name, token)
    if cursor.accept("="):
        draft.entry_targets.append((draft.line, name, cursor.take()))


def _op(cursor: Cursor, draft: Draft) -> None:
    """`.op name`: the graph operation of what follows; `.op`: none; `.op 3`: by its index."""
    draft.has_debug = True
    if cursor.at_end():
        draft.op = -1
        return
    if cursor.next.kind == "int":
        draft.op = _op_index(cursor, draft)
        return
    name = cursor.rest("an operation's name")
    if name not in draft.ops:
        draft.ops.append(name)
    draft.op = draft.ops.index(name)


def _op_index(cursor: Cursor, draft: Draft) -> int:
    token = cursor.next
    index = read_int64(cursor, draft.scope.value)
    if not 0 <= index < len(draft.ops):
        raise SyntaxFault(token, f"there are {len(draft.ops)} operations so far")
    return index


def _ops(cursor: Cursor, draft: Draft) -> None:
    """`.ops "name", ...`: names of operations ahead of their use, in this order."""
    draft.ops.append(cursor.name("an operation's name"))
    while cursor.accept(","):
        draft.ops.append(cursor.name("an operation's name"))


def _meta(cursor: Cursor, draft: Draft) -> None:
    """`.meta key = JSON`."""
    key = cursor.name("a key")
    cursor.expect("=")
    start = cursor.next
    text = cursor.rest_of_source("a JSON value")
    try:
        draft.metadata[key] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SyntaxFault(start, f"no JSON: {error}") from None


def _tokenizer(cursor: Cursor, draft: Draft) -> None:
    """`.tokenizer "base64"`."""
    token = cursor.next
    try:
        draft.tokenizer = base64.b64decode(cursor.name("a string"), validate=True)
    except ValueError:  # of other digits, or of characters beyond ASCII
        raise SyntaxFault(token, "expected base64") from None


DIRECTIVES: dict[str, Callable[[Cursor, Draft], None]] = {
    ".alias": _alias,
    ".chip": _chip,
    ".const": _const,
    ".data": _data,
    ".desc": _desc,
    ".entry": _entry,
    ".meta": _meta,
    ".op": _op,
    ".ops": _ops,
    ".region": _region,
    ".symbol": _symbol,
    ".tokenizer": _tokenizer,
}


def directive(cursor: Cursor, draft: Draft) -> None:
    """Read the directive at the cursor, to the end of the line."""
    token = cursor.take()
    if token.text not in DIRECTIVES:
        hint = suggest(token.text, list(DIRECTIVES))
        raise SyntaxFault(token, f"unknown directive '{token.text}'{hint}")
    DIRECTIVES[token.text](cursor, draft)
    cursor.expect_end()
