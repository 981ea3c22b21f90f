"""The 256 bytes of UTF-8 as tokens: any text in any language, no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .base import Tokenizer, check_characters
from .hugging_face import BYTE_CHARACTERS, BYTE_LEVEL, tokenizer_json

__all__ = ["ByteTokenizer"]


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes as tokens; the id is the byte. `decode` turns bytes that are not UTF-8 into U+FFFD."""

    kind: ClassVar[str] = "bytes"
    vocab_size = 256

    def encode(self, text: str) -> np.ndarray:
        self._check_text(text)
        check_characters(text)
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)

    def safe_cut(self, text: str) -> int:
        return len(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        return self._check_ids(ids).astype(np.uint8).tobytes().decode("utf-8", "replace")

    def token(self, id: int) -> str:
        byte = self.token_bytes(id)[0]
        return repr(chr(byte)) if byte < 0x80 else f"<0x{byte:02X}>"

    def token_bytes(self, id: int) -> bytes:
        return bytes([self._check_ids([id])[0]])

    def to_json(self) -> dict[str, Any]:
        return tokenizer_json(BYTE_CHARACTERS, pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL)
