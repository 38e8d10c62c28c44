"""Whose fault: which of Django's, DRF's and django-ninja's exceptions say nothing about a dependency."""

from __future__ import annotations

from abc import ABCMeta
from typing import Final, cast

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation, ValidationError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from recloser.http.fault import Faults


class _OfTheApplication(metaclass=ABCMeta):  # noqa: B024 - only `isinstance` asks
    """An API's own refusals, whatever their status: throttles, and input that is not valid."""

    @classmethod
    def __subclasshook__(cls, other: type, /) -> bool:
        return _is_a(other, _REFUSALS)


class _Answering(metaclass=ABCMeta):  # noqa: B024
    """Exceptions that are answers: each has a `status_code`."""

    @classmethod
    def __subclasshook__(cls, other: type, /) -> bool:
        return _is_a(other, _ANSWERS) and not _is_a(other, _REFUSALS)


# By name: neither package need be there.
_ANSWERS: Final = frozenset({("rest_framework.exceptions", "APIException"), ("ninja.errors", "HttpError")})
_REFUSALS: Final = frozenset(
    {
        ("rest_framework.exceptions", "Throttled"),
        ("ninja.errors", "Throttled"),
        ("ninja.errors", "ValidationError"),
    }
)


def _is_a(kind: type, names: frozenset[tuple[str, str]]) -> bool:
    return any((base.__module__, base.__qualname__) in names for base in kind.__mro__)


def _type(kind: type) -> type[BaseException]:
    return cast("type[BaseException]", kind)  # it is asked by `isinstance` only


FAULTS: Final = Faults(
    ignored=(
        Http404,
        PermissionDenied,
        SuspiciousOperation,
        ValidationError,
        BadRequest,
        MultiPartParserError,
        UnreadablePostError,
        _type(_OfTheApplication),
    ),
    answering=(_type(_Answering),),
)
