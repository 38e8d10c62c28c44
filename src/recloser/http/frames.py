"""Kept responses as bytes, for caches outside this process: nothing that is read from them is ever executed."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from hashlib import blake2b, sha256
from typing import Any, Final, NamedTuple

from recloser.http.kept import Kept, is_selected_by, selecting
from recloser.http.messages import Request, Response

VERSION: Final = 1  # of the keys and of what is written
_MAGIC: Final = b"recloser" + bytes([VERSION])
_CHECK: Final = 16  # bytes
_HEAD: Final = len(_MAGIC) + _CHECK
_LENGTH: Final = struct.Struct(">I")


class Stored(NamedTuple):
    """A variant as it was read.

    Attributes:
        kept: The response. What it was selected by is known by digests only: requests carry secrets.
        digests: Names of request headers, and digests of their values.
    """

    kept: Kept
    digests: tuple[tuple[str, str | None], ...]

    def answers(self, request: Request) -> bool:
        """Tell whether a request selects the response (RFC 9111 §4.1), as `selects`."""
        return all(_digest(selecting(request, name)) == digest for name, digest in self.digests) and (
            is_selected_by(request, (name for name, _digest in self.digests))
        )


class CorruptError(ValueError):
    """What was read is not what was written."""


def stored(kept: Kept) -> Stored:
    """Make a variant of a response that is to be kept."""
    return Stored(kept, tuple((name, _digest(value)) for name, value in kept.selection))


def key_of(*parts: str) -> str:
    """Make a key that says nothing of what it was made from: names of users are among it."""
    return sha256(json.dumps(parts).encode()).hexdigest()


def write(key: str, generation: str, variants: Iterable[Stored]) -> bytes:
    """Write the variants of one target and partition.

    Args:
        key: Where they are going to be kept: an answer under another key, by whosever mistake, is none.
        generation: Of the target; another one outdates them.
        variants: The most recent first.
    """
    listed = list(variants)
    head = {"key": key, "generation": generation, "variants": [_plain(variant) for variant in listed]}
    encoded = json.dumps(head, separators=(",", ":")).encode()
    content = b"".join(
        [_LENGTH.pack(len(encoded)), encoded, *(variant.kept.response.body for variant in listed)]
    )
    return _MAGIC + _check(content) + content


def read(key: str, data: bytes) -> tuple[str, tuple[Stored, ...]]:
    """Read what was written.

    Args:
        key: Where it was found.
        data: What was found.

    Returns:
        The generation, and the variants.

    Raises:
        CorruptError: It is something else.
    """
    content = data[_HEAD:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : _HEAD] != _check(content):
        raise CorruptError("it was written by something else, or damaged")
    try:
        (length,) = _LENGTH.unpack_from(content)
        start = _LENGTH.size + length
        head = json.loads(content[_LENGTH.size : start])
        if head["key"] != key:
            raise CorruptError("it belongs to another key")
        variants: list[Stored] = []
        for plain in head["variants"]:
            end = start + plain["length"]
            variants.append(_variant(plain, content[start:end]))
            start = end
        return str(head["generation"]), tuple(variants)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, struct.error) as error:
        raise CorruptError(f"{type(error).__name__}: {error}") from None


def _plain(variant: Stored) -> dict[str, object]:
    kept = variant.kept
    return {
        "status": kept.response.status,
        "headers": kept.response.headers,
        "selection": variant.digests,
        "lifetime": kept.lifetime,
        "stale": None if math.isinf(kept.stale_limit) else kept.stale_limit,
        "born": kept.born,
        "length": len(kept.response.body),
    }


def _variant(plain: dict[str, Any], body: bytes) -> Stored:
    headers = tuple((str(name), str(value)) for name, value in plain["headers"])
    digests = tuple(
        (str(name), None if digest is None else str(digest)) for name, digest in plain["selection"]
    )
    limit = math.inf if plain["stale"] is None else float(plain["stale"])
    kept = Kept(
        Response(int(plain["status"]), headers, body),
        selection=(),
        lifetime=int(plain["lifetime"]),
        stale_limit=limit,
        born=float(plain["born"]),
        size=len(body),
    )
    return Stored(kept, digests)


def _digest(value: str | None) -> str | None:
    return None if value is None else sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def _check(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECK).digest()
