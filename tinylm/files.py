"""Files, written durably and read strictly. Every room that keeps something on disk stands on this."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tinylm_kernels.cache import cache_folder

from .errors import FileFormatError

__all__ = ["cache_folder", "fsync_folder", "parse_json", "read_json", "write_atomically", "write_json"]

# A parsed JSON value takes about 100 bytes, so this bounds a parse to a few hundred megabytes and about a
# second. The largest real files (a 250k-word tokenizer with its merges) hold about a million values.
MAX_JSON_VALUES = 4_000_000
MAX_JSON_BYTES = 256 << 20


def write_atomically(
    path: str | os.PathLike[str],
    content: bytes | bytearray | memoryview | Callable[[BinaryIO], object],
) -> None:
    """Make `path` hold all of `content`, or leave it as it was: never a part, even after a power cut.

    path: in a folder that exists; a file there is replaced (so is a symbolic link, not its target).
    content: the bytes, or a function that writes them to the binary file it is given, which can seek.

    The bytes go to a temporary name in the same folder, are synced to the disk, and take the name in one
    step; the folder is synced last. The mode is the one the umask gives to any new file. Whatever goes
    wrong (a full disk, Ctrl-C, an error in `content`), the temporary file is removed and the error goes on:
    an OSError names `path`. On Windows a file that is still memory-mapped cannot be replaced.
    """
    target = Path(path)
    temporary = target.with_name(f".tinylm-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(target), None  # the user has never heard of the other name
        raise
    fsync_folder(target.parent)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as JSON that people can read, durably and in one step; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode("utf-8"))


def fsync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable: a rename is on the disk only after this.

    Does nothing where the system has no such call (Windows, some network file systems).
    """
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The value in a JSON file, as strictly as `parse_json` reads it. Raises FileFormatError."""
    file = Path(path)
    if not file.is_file():
        raise FileFormatError(file, "is a folder, not a file" if file.is_dir() else "there is no such file")
    if file.stat().st_size > max_bytes:
        raise FileFormatError(file, f"more than {max_bytes:,} bytes: too large for a JSON file here")
    return parse_json(file.read_bytes(), file)


def parse_json(raw: bytes, path: str | os.PathLike[str], *, start: int = 0, max_values: int = MAX_JSON_VALUES) -> Any:
    """The value of a JSON text, in bounded memory, by the letter of RFC 8259 and stricter than `json`.

    Refuses duplicate keys, NaN and Infinity, numbers too large, depth, lone surrogates and anything but
    UTF-8. `-0` is a float, as it is in JavaScript and Rust. path, start: the file and where in it `raw`
    begins, for the message. Raises FileFormatError with the byte offset.
    """
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if values > max_values:
        raise FileFormatError(path, f"about {values:,} JSON values, over the cap of {max_values:,}", start)
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=lambda digits: -0.0 if digits == "-0" else int(digits),
        )
        if b"\\ud" in raw or b"\\uD" in raw:  # only an escape can spell a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(path, "not UTF-8 text, so not JSON", start + error.start) from None
    except UnicodeEncodeError:
        raise FileFormatError(path, "a string holds a lone surrogate: not a character", start) from None
    except json.JSONDecodeError as error:
        offset = start + len(text[: error.pos].encode("utf-8"))
        raise FileFormatError(path, f"malformed JSON: {error.msg}", offset) from None
    except RecursionError:
        raise FileFormatError(path, "JSON nested too deeply", start) from None
    except ValueError as error:
        raise FileFormatError(path, f"malformed JSON: {error}", start) from None
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r} appears twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value
