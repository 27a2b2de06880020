"""The tokenizer a program carries: round trips, streaming, and files that are not tokenizers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers, processors

from emulator.tokenizer import Tokenizer, TokenizerError

BOS, EOS = 0, 1
TEXTS = ["", "a", "Hello, world!", "  two  spaces\n", "naïve 日本語 🎉🎉 x", "tail 🎉"]


def byte_level() -> Library:
    """A tokenizer of single bytes, which every character beyond ASCII takes several of."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": BOS, "</s>": EOS} | {c: i + 2 for i, c in enumerate(alphabet)}
    inner = Library(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<s>", "</s>"])
    inner.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", BOS)])
    return inner


def sentence_pieces() -> Library:
    """A tokenizer whose tokens' leading spaces depend on their place in the text."""
    words = ["<unk>", "▁two", "▁words", "▁and", "s", "▁"]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    model = models.BPE(
        vocab={word: i for i, word in enumerate(words)},
        merges=[],
        unk_token="<unk>",
        byte_fallback=True,
    )
    inner = Library(model)
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return inner


def tokenizer(inner: Library) -> Tokenizer:
    return Tokenizer(inner.to_str().encode(), (EOS,))


BYTES, PIECES = tokenizer(byte_level()), tokenizer(sentence_pieces())


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip_and_the_models_own_bos(text: str) -> None:
    tokens = BYTES.encode(text)
    assert tokens[0] == BOS
    assert len(tokens) == 1 + len(text.encode())
    assert BYTES.decode(tokens) == text


def streamed(model: Tokenizer, tokens: list[int]) -> list[str]:
    stream = model.stream()
    return [*(stream.push(token) for token in tokens), stream.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_streaming_gives_whole_characters(text: str) -> None:
    pieces = streamed(BYTES, BYTES.encode(text))
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_streaming_keeps_the_spaces_between_tokens() -> None:
    assert streamed(PIECES, [1, 2, 3, 4, 1]) == ["two", " words", " and", "s", " two", ""]


@given(st.lists(st.integers(0, 257), max_size=30))
def test_streaming_any_bytes_equals_decoding_them(tokens: list[int]) -> None:
    assert "".join(streamed(BYTES, tokens)) == BYTES.decode(tokens)


def test_an_unfinished_character_ends_as_a_replacement() -> None:
    tokens = BYTES.encode("x🎉")[:-1]
    assert streamed(BYTES, tokens)[-1] == BYTES.decode(tokens)[1:]
    assert streamed(BYTES, tokens)[-1].startswith("\N{REPLACEMENT CHARACTER}")


def test_tokens_beyond_the_tokenizer_are_silent() -> None:
    assert BYTES.size == 258
    assert BYTES.decode([10**6]) == ""


def test_ends() -> None:
    assert BYTES.ends(EOS)
    assert not BYTES.ends(BOS)


def test_saved_truncation_and_padding_do_not_apply() -> None:
    inner = byte_level()
    inner.enable_truncation(3)
    inner.enable_padding(length=5)
    assert len(tokenizer(inner).encode("a longer text")) == 14
    assert len(tokenizer(inner).encode("a")) == 2


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"model": 1}', json.dumps({"version": "1.0"}).encode()]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(TokenizerError, match=r"x\.json: not a usable tokenizer: ") as caught:
        Tokenizer(data, source="x.json")
    assert "\n" not in str(caught.value)


def test_bad_text_and_tokens() -> None:
    with pytest.raises(TokenizerError, match="surrogate"):
        BYTES.encode("\ud800")
    for token in (-1, 1 << 40):
        with pytest.raises(TokenizerError, match="tokens must be"):
            BYTES.decode([token])


def test_the_library_is_imported_late() -> None:
    code = "import sys, emulator.tokenizer; print('tokenizers' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == "False"
