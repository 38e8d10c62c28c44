"""`EmailBackend`: any of Django's mail backends behind a breaker, so that a dead mail server fails fast.

EMAIL_BACKEND = "recloser.django.mail.EmailBackend"      # SMTP, the breaker "mail"

Another backend or breaker: since Django 6.1 by `OPTIONS` in `MAILERS`, before that by a subclass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from smtplib import SMTPRecipientsRefused, SMTPResponseException
from typing import Any, ClassVar, TypeVar

from django import VERSION
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from recloser.core.errors import CallRejectedError
from recloser.core.permit import Permit
from recloser.django.lazy import breaker_of_setting

T = TypeVar("T")


class EmailBackend(BaseEmailBackend):
    """Sends by another backend while its circuit is closed, and raises `CircuitOpenError` at once while it is not.

    A server that is not there, or that answers with a temporary refusal (4xx), is a failure. A permanent refusal
    (5xx), of a recipient say, is not: the server answered. With `fail_silently` nothing is raised.

    Args:
        fail_silently: As of Django's backends.
        backend: The dotted path of the other backend; by default the attribute of the class.
        breaker: The breaker's name; by default the attribute of the class.
        **kwargs: The other backend's.
    """

    backend: ClassVar[str] = "django.core.mail.backends.smtp.EmailBackend"
    breaker: ClassVar[str] = "mail"

    def __init__(
        self, fail_silently: bool = False, *, backend: str = "", breaker: str = "", **kwargs: Any
    ) -> None:
        if VERSION >= (6, 1):  # backends know the alias of their mailer; none is that of EMAIL_BACKEND
            kwargs.setdefault("alias", None)
        super().__init__(**{name: value for name, value in kwargs.items() if name == "alias"})
        self.fail_silently = fail_silently
        self._breaker = breaker_of_setting(breaker or self.breaker)
        # It must not hide from the breaker what fails.
        self._inner: BaseEmailBackend = import_string(backend or self.backend)(**kwargs)

    def open(self) -> bool | None:
        """Connect.

        Returns:
            Whether a new connection was made; `None` if that failed silently.

        Raises:
            CircuitOpenError: The circuit is open.
        """
        return self._ask(self._inner.open)

    def close(self) -> None:
        """Disconnect."""
        self._inner.close()

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send messages.

        Returns:
            How many were sent.

        Raises:
            CircuitOpenError: The circuit is open.
        """
        return self._ask(lambda: self._inner.send_messages(email_messages)) or 0 if email_messages else 0

    def _ask(self, call: Callable[[], T]) -> T | None:
        try:
            permit = self._breaker.acquire()
        except CallRejectedError:
            if self.fail_silently:
                return None
            raise
        try:
            result = call()
        except Exception as error:
            _settle(permit, error)
            if self.fail_silently:
                return None
            raise
        permit.success()
        return result


def _settle(permit: Permit, error: Exception) -> None:
    codes = (
        [code for code, _ in error.recipients.values()] if isinstance(error, SMTPRecipientsRefused) else []
    )
    if isinstance(error, SMTPResponseException):
        codes = [error.smtp_code]
    if codes and all(code >= 500 for code in codes):
        permit.success()
    elif isinstance(error, ValueError) and not isinstance(
        error, OSError
    ):  # a header or address that is no such
        permit.ignore()
    else:
        permit.finish(error)
