"""The text Tessera's small language model learns from and is measured on.

Every machine with CPython already has it: the standard library's docstrings and comment blocks, and
`pydoc_data.topics` (PSF licence). This module finds that text and keeps the prose: paragraphs are
unwrapped; doctests, signatures, tables, markup, code, licence headers and repetitions are dropped.
Nothing of it is ever stored in the repository.

Held-out text is the pydoc topics named in `held_out_topics.txt`, read from the running Python. A
training paragraph that shares any eight consecutive words with a held-out one is dropped.

    python corpus.py                        # statistics of the running Python's corpus
    python corpus.py --sample 5             # and five of its documents
    python corpus.py --stdlib DIR ...       # add other CPythons' standard libraries
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import io
import random
import re
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
HELD_OUT_TOPICS = HERE / "held_out_topics.txt"

GRAM = 8  # consecutive words that identify a passage
REPEATED = 0.5  # a training paragraph with this share of known 8-grams is a repetition
SKIPPED_FOLDERS = {"site-packages", "dist-packages", "__pycache__", "_bundled", "pydoc_data"}

# --------------------------------------------------------------------------------------- paragraphs

BULLET = re.compile(r"^\s*(?:[*+-]|o|\(?\d{1,2}[.)]|\(?[a-z]\))\s+(?=\S)")
RULE = re.compile(r"^\s*[-=~^*#+_.|/\\ ]{3,}$")
TABLE = re.compile(r"^\s*[|+].*[|+]\s*$|\S {3,}\S.* {3,}\S")
DIRECTIVE = re.compile(r"^\s*\.\. |^\s*:\w+[^:]*:")
DOCTEST = re.compile(r"^\s*(?:>>>|\.\.\. |\$ |# )")


def indent_of(line: str) -> int:
    """How many columns a line is indented."""
    return len(line) - len(line.lstrip())


def blocks(text: str) -> Iterator[list[str]]:
    """The runs of non-blank lines of a text."""
    block: list[str] = []
    for line in [*text.expandtabs().splitlines(), ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


def items(block: list[str]) -> Iterator[list[str]]:
    """A block, split where a bullet starts or the indentation says that something new does."""
    item: list[str] = []
    for line in block:
        starts = len(item) > 1 and indent_of(line) != indent_of(item[1])
        if item and (starts or BULLET.match(line)):
            yield item
            item = []
        item.append(line)
    if item:
        yield item


def is_layout(block: list[str]) -> bool:
    """Whether a block is a doctest, a table, a directive or a heading rather than a paragraph."""
    return any(
        RULE.match(line) or DOCTEST.match(line) or TABLE.match(line) or DIRECTIVE.match(line)
        for line in block
    )


BROKEN = re.compile(
    r"(?<=[a-z])- (?=(?:in|out|up|level|line|only|defined|time|side|bit|to|of|specific|like)\b)"
)


def unwrap(lines: Iterable[str]) -> str:
    """Lines joined into one; a word broken after its hyphen is closed up."""
    return BROKEN.sub("-", " ".join(line.strip() for line in lines))


# ------------------------------------------------------------------------------------------- markup

MARKUP: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"[\u2018\u2019]"), "'"),
    (re.compile(r"[\u201c\u201d]"), '"'),
    (re.compile(r"\s*[\u2013\u2014]\s*|\s+---?\s+"), " -- "),
    (re.compile(r"\u2026"), "..."),
    (re.compile(r":[\w:]+:`[~!]?([^`<]+?)(?:\s*<[^>]*>)?`"), r'"\1"'),  # :func:`name`
    (re.compile(r"``\s*([^`]+?)\s*``"), r'"\1"'),  # ``code``
    (re.compile(r"`([^`<]+?)\s*<[^>]*>`__?"), r"\1"),  # `text <target>`_
    (re.compile(r"`([^`']+)['`]_{0,2}"), r'"\1"'),  # `name' and `name`
    (re.compile(r"(?<![\w*])\*\*?(\w[^*]*?\w|\w)\*\*?(?![\w*])"), r"\1"),  # *emphasis*
    (re.compile(r"\s*\[\d+\]_?"), ""),  # footnotes
    (re.compile(r"\\(?=[*_`|])"), ""),
    (re.compile(r"::$"), ":"),
    (re.compile(r"^(?:XXX|TODO|FIXME)\b(?:\s*\([^)]*\))?\s*[:.-]*\s*"), ""),
    (
        re.compile(r"^[\w.]+\([^)]*\)\s*(?:-+>?\s*[\w ]*[.:-]*|:)\s+(?=[A-Z])"),
        "",
    ),  # f(x) -> int. Text
    (
        re.compile(r"^(?:Issue|issue|bpo|gh|SF|Bug|bug)[ -]?(?:bug|patch)?\s*[#-]?\d+\s*[:.-]\s*"),
        "",
    ),
    (re.compile(r"\s+"), " "),
]


def without_markup(text: str) -> str:
    """Plain text of one reST-like paragraph: code in straight double quotes, no emphasis, single
    spaces.
    """
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()


def word_set(text: str) -> frozenset[str]:
    """The words of a text, each once."""
    return frozenset(text.split())


DANGLING = word_set(
    """a also an and are as be but by for from if in is it nor not of on or so than that the then
    to was with"""
)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")


def finished(text: str) -> str:
    """The paragraph ending in a full stop: what it announced with a colon has been dropped."""
    if text.endswith(":"):
        *before, last = SENTENCE.split(text)
        announcement = len(last.split()) < 8 or re.search(
            r"following|example|below|e\.g|i\.e", last.lower()
        )
        return " ".join(before) if announcement else text[:-1].rstrip() + "."
    words = text.split()
    if len(words) >= 6 and re.search(r"[\w)\"']$", text) and words[-1].lower() not in DANGLING:
        return text + "."
    return text


def started(text: str) -> str:
    """The paragraph with its first word capitalised, where that word looks like English."""
    first, *rest = text.split(" ")
    english = first in PLAIN_WORDS or (len(rest) >= 6 and re.fullmatch(r"[a-z]+", first))
    return text[:1].upper() + text[1:] if english else text


# -------------------------------------------------------------------------------------------- prose

PLAIN_WORDS = word_set(
    """a about after all also always an and any are as at be because been before but by can
    cannot could do does each either else every first for from get had has have how however if
    in instead into is it its just like make may might more most must need needs no not note now
    of on once one only or other our out over return returns same set should since so some such
    than that the their them then there these they this those to too two under unless until use
    used using value very want was we were what when where whether which while will with without
    would you your"""
)
REJECTED = re.compile(
    r"copyright|licen[cs]e|warrant[yi]|permission (?:is|to)|all rights|merchantab"
    r"|be liable|liability|redistribut|trademark"
    r"|https?:|www\.|ftp:|\w@\w|\$(?:id|revision)|coding[:=]|\b(?:xxx|todo|fixme)\b"
    r"|usr/|\.py\b.{0,3}\.py\b"
    r"|(?:\b\d[\d.,]*\b\W+){4}|\b[0-9a-f]{12,}\b|[<>=|+]{3}|_{4}|-{4}|\.{4}|#\s*#|%s.*%s|\\[xnu0]",
    re.IGNORECASE,
)
OPENING = re.compile(r"[A-Z\"'(]")
CLOSING = re.compile(r"[.!?][\"')]{0,2}$")
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


def is_prose(text: str) -> bool:
    """Whether a paragraph reads as English sentences rather than as code, data or a fragment."""
    if (
        not text.isascii()
        or not OPENING.match(text)
        or not CLOSING.search(text)
        or REJECTED.search(text)
    ):
        return False
    words = text.split()
    plain = sum(word.strip(".,;:()\"'").lower() in PLAIN_WORDS for word in words)
    letters = sum(c.isalpha() or c == " " for c in text)
    codelike = sum(c in "=[]{}<>\\|/%&@^~+*#" for c in text)
    shape = letters >= 0.83 * len(text) and codelike <= 0.03 * len(text)
    return shape and len(words) >= 5 and len(WORD.findall(text)) >= 4 and plain >= 0.16 * len(words)


def paragraphs(text: str) -> Iterator[str]:
    """The prose paragraphs of a docstring, a comment block or a topic, in order."""
    for block in blocks(text):
        if is_layout(block):
            continue
        for item in items(block):
            bare = BULLET.sub("", unwrap(item))
            candidate = started(finished(without_markup(bare)))
            if is_prose(candidate):
                yield candidate


# ------------------------------------------------------------------------------------------ sources


def running_stdlib() -> Path:
    """The running Python's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def source_files(stdlib: Path) -> Iterator[Path]:
    """A standard library's Python files, without what is installed into it, in a fixed order."""
    for path in sorted(stdlib.rglob("*.py")):
        if not SKIPPED_FOLDERS.intersection(path.relative_to(stdlib).parts):
            yield path


def docstrings(source: str) -> list[tuple[int, str]]:
    """The docstrings of a module, its classes and functions, with their line numbers."""
    found: list[tuple[int, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                found.append((node.body[0].lineno, text))
    return found


def comment_blocks(source: str) -> list[tuple[int, str]]:
    """The runs of whole-line comments of a module, with their line numbers."""
    runs: list[tuple[int, list[str]]] = []
    previous = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.line.strip() != token.string:
            continue
        row = token.start[0]
        if row != previous + 1:
            runs.append((row, []))
        runs[-1][1].append(re.sub(r"^#+!?", "", token.string))
        previous = row
    return [(row, inspect.cleandoc("\n" + "\n".join(lines))) for row, lines in runs]


def file_texts(path: Path) -> list[str]:
    """Docstrings and comment blocks of one file in source order; none if it is not valid Python."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
        found = docstrings(source) + comment_blocks(source)
    except (SyntaxError, ValueError, UnicodeError, tokenize.TokenError, RecursionError):
        return []
    return [text for _, text in sorted(found)]


def topics_of(stdlib: Path) -> dict[str, str]:
    """The pydoc topics of a standard library, read without importing them."""
    try:
        tree = ast.parse((stdlib / "pydoc_data" / "topics.py").read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(
            f"{error.filename}: no pydoc topics; use a CPython with its full standard library"
        ) from error
    values = [
        node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value
    ]
    tables = [ast.literal_eval(value) for value in values if isinstance(value, ast.Dict)]
    return {name: text for table in tables for name, text in table.items()}


def documented(owner: object) -> Iterator[str]:
    """The docstrings of a module or class written in C, and of what it contains."""
    yield getattr(owner, "__doc__", None) or ""
    for value in vars(owner).values():
        if (
            inspect.isclass(value)
            and inspect.ismodule(owner)
            and value.__module__ == owner.__name__
        ):
            yield from documented(value)
        elif (
            inspect.isroutine(value)
            or inspect.isgetsetdescriptor(value)
            or inspect.ismemberdescriptor(value)
        ):
            yield getattr(value, "__doc__", None) or ""


def extension_names() -> list[str]:
    """The running Python's modules that have no Python source: built in, or its standard library's
    shared objects.
    """
    dynamic = Path(sysconfig.get_paths()["stdlib"]) / "lib-dynload"
    shared = {path.name.split(".")[0] for path in dynamic.glob("*.so")}
    return sorted(set(sys.builtin_module_names) | {name for name in shared if "test" not in name})


def extension_texts(name: str) -> list[str]:
    """The docstrings of one extension module; none if it cannot be imported here."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return []
    return [inspect.cleandoc(text) for text in documented(module) if isinstance(text, str) and text]


# ---------------------------------------------------------------------------------------- documents


def words_of(text: str) -> list[str]:
    """The words of a text, for comparing passages."""
    return re.findall(r"[a-z0-9]+", text.lower())


def grams(text: str) -> set[int]:
    """Hashes of every eight consecutive words (of all the words, when there are fewer)."""
    words = words_of(text)
    return {hash(tuple(words[i : i + GRAM])) for i in range(max(1, len(words) - GRAM + 1))}


@dataclass
class Novelty:
    """Which passages have been seen: held-out ones are always refused, training ones once they
    repeat.
    """

    held_out: set[int]
    seen: set[int] = field(default_factory=set)
    leaked: int = 0
    repeated: int = 0

    def admits(self, paragraph: str) -> bool:
        """Whether a paragraph may join the training text; if so it counts as seen."""
        found = grams(paragraph)
        if found & self.held_out:
            self.leaked += 1
            return False
        if len(found & self.seen) >= REPEATED * len(found):
            self.repeated += 1
            return False
        self.seen |= found
        return True


def held_out_names() -> list[str]:
    """The committed list of withheld topics."""
    lines = HELD_OUT_TOPICS.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def held_out_documents(stdlib: Path | None = None) -> list[str]:
    """The held-out topics' prose, one document per topic, a paragraph at most once."""
    topics = topics_of(stdlib or running_stdlib())
    novelty = Novelty(held_out=set())
    documents = []
    for name in held_out_names():
        if name in topics:
            documents.append("\n\n".join(p for p in paragraphs(topics[name]) if novelty.admits(p)))
    return [document for document in documents if document]


def raw_documents(stdlib: Path, withheld: Sequence[str]) -> Iterator[list[str]]:
    """The texts of a standard library, grouped into documents: a topic or a file each."""
    for name, text in topics_of(stdlib).items():
        if name not in withheld:
            yield [text]
    if stdlib == running_stdlib():
        for name in extension_names():
            yield extension_texts(name)
    for path in source_files(stdlib):
        yield file_texts(path)


def training_documents(stdlibs: Sequence[Path] = ()) -> tuple[list[str], Novelty]:
    """The training text, one string per topic or source file, and what was refused on the way."""
    libraries = [running_stdlib(), *(path for path in stdlibs if path != running_stdlib())]
    withheld = [
        p
        for library in libraries
        for text in held_out_documents(library)
        for p in text.split("\n\n")
    ]
    novelty = Novelty(held_out=set().union(*map(grams, withheld)))
    documents: list[str] = []
    known: set[str] = set()
    for library in libraries:
        for texts in raw_documents(library, held_out_names()):
            fresh = [
                text for text in texts if text not in known
            ]  # most of an older library: not worth cleaning twice
            known.update(fresh)
            kept = [p for text in fresh for p in paragraphs(text) if novelty.admits(p)]
            if kept:
                documents.append("\n\n".join(kept))
    return documents, novelty


def size(documents: Sequence[str]) -> str:
    """The size of a set of documents, for a person."""
    characters = sum(map(len, documents))
    words = sum(len(text.split()) for text in documents)
    return f"{len(documents)} documents, {words} words, {characters} bytes"


def main() -> None:
    """Print the corpus's statistics, and samples if asked."""
    parser = argparse.ArgumentParser(
        description="Build the training and held-out text and describe it."
    )
    parser.add_argument(
        "--stdlib", type=Path, nargs="*", default=[], help="other standard libraries to add"
    )
    parser.add_argument("--sample", type=int, default=0, help="print this many training documents")
    options = parser.parse_args()
    documents, novelty = training_documents(options.stdlib)
    print(f"training: {size(documents)}")
    print(f"held out: {size(held_out_documents())} (Python {sys.version.split()[0]})")
    print(
        f"dropped:  {novelty.repeated} repeated paragraphs, "
        f"{novelty.leaked} shared with the held-out text"
    )
    for document in random.Random(1).sample(documents, options.sample):
        print(f"\n{'=' * 80}\n{document[:3000]}")


if __name__ == "__main__":
    main()
