"""Whose fault: what an endpoint's answer or exception says about the dependency that its guard protects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeGuard, cast

from recloser.core.errors import CallRejectedError
from recloser.core.outcome import Judge, Outcome
from recloser.core.permit import Permit

FIRST_FAILING: Final = 429  # no status below is a failure


def of_status(status: int) -> Outcome:
    """Judge an answer: 5xx and 429 are failures, any other 4xx is the client's doing (RFC 9110 §15.5, §15.6)."""
    if status >= 500 or status == 429:
        return Outcome.FAILURE
    return Outcome.IGNORED if status >= 400 else Outcome.SUCCESS


@dataclass(frozen=True, slots=True)
class Faults:
    """How one framework's exceptions are judged.

    Attributes:
        ignored: They say nothing about any dependency: bad input, missing rights, a client that went away.
        answering: They are answers: each has a `status_code`.
        masking: Of the ignored, those that the framework also puts in the place of a body's `OSError`.
    """

    ignored: tuple[type[BaseException], ...] = ()
    answering: tuple[type[BaseException], ...] = ()
    masking: tuple[type[BaseException], ...] = ()

    def settle(self, permit: Permit, error: BaseException) -> None:
        """Settle a permit with what the endpoint raised; of a group, with what is not to be ignored."""
        telling = self._telling(error)
        if not telling:
            permit.ignore()
        elif len(telling) > 1:
            permit.finish(BaseExceptionGroup("several errors", telling))
        elif isinstance(telling[0], self.answering):
            self._settle_answer(permit, telling[0])
        else:
            permit.finish(telling[0])

    def of_error(self, judge: Judge, error: BaseException) -> Outcome:
        """Judge what the endpoint raised, without settling anything."""
        telling = self._telling(error)
        if not telling:
            return Outcome.IGNORED
        subject = BaseExceptionGroup("several errors", telling) if len(telling) > 1 else telling[0]
        judged = judge.of_error(subject)
        if isinstance(subject, self.answering) and judged is not Outcome.IGNORED:
            return of_status(_status(subject))
        return judged

    def _telling(self, error: BaseException) -> list[BaseException]:
        real = [self._unmasked(leaf) for leaf in leaves(error)]
        return [leaf for leaf in real if not self._is_ignored(leaf)]

    def _settle_answer(self, permit: Permit, error: BaseException) -> None:
        # An explicit `ignore` in the policy outweighs the status.
        if permit.driver.judge.of_error(error) is Outcome.IGNORED:
            permit.ignore()
        elif of_status(_status(error)) is Outcome.FAILURE:
            permit.failure(error)
        else:
            permit.success()

    def _unmasked(self, error: BaseException) -> BaseException:
        # Starlette's word for an exception with a handler that came too late to be answered.
        if type(error) is RuntimeError and self._is_known(error.__cause__):
            return error.__cause__
        if isinstance(error, self.masking) and isinstance(error.__context__, OSError):
            return error.__context__
        return error

    def _is_ignored(self, error: BaseException) -> bool:
        if isinstance(error, self.answering):
            return of_status(_status(error)) is Outcome.IGNORED
        return isinstance(error, (CallRejectedError, *self.ignored))

    def _is_known(self, error: BaseException | None) -> TypeGuard[BaseException]:
        return isinstance(error, (CallRejectedError, *self.ignored, *self.answering))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Go through the exceptions that an exception group is made of; any other exception is its own only leaf."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def find_refusal(error: BaseException) -> CallRejectedError | None:
    """Return the refusal that an exception is, or is a group of and nothing else: the longest one to wait for."""
    refusals = list(leaves(error))
    if all(isinstance(leaf, CallRejectedError) for leaf in refusals):
        return max(cast("list[CallRejectedError]", refusals), key=lambda refusal: refusal.retry_after)
    return None


def _status(error: BaseException) -> int:
    status: int = getattr(error, "status_code", 500)
    return status
