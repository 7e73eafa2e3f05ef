"""Which failures of a step are worth a second try: a store out of reach. Wrong data never is.

Not a RetryPolicy: that one tries everything again that does not say otherwise, bugs included.
"""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import dagster as dg
import psycopg

from copytrader_core.settings import settings

# An OperationalError that no waiting heals: class 28 is a wrong password, 3D000 a database that is not there.
_LASTING: Final = ("28", "3D000")
_LONGEST_SECONDS: Final = 300.0
_Step = TypeVar("_Step", bound=Callable[..., Any])


def retried(step: _Step) -> _Step:
    """Makes a step ask Dagster for another try where its database or lake was out of reach; stands below @dg.asset."""
    if inspect.isgeneratorfunction(step):

        @functools.wraps(step)
        def results(context: dg.OpExecutionContext, *inputs: Any, **resources: Any) -> Iterator[Any]:
            with _retrying(context):
                yield from step(context, *inputs, **resources)

        return cast("_Step", results)

    @functools.wraps(step)
    def result(context: dg.OpExecutionContext, *inputs: Any, **resources: Any) -> Any:
        with _retrying(context):
            return step(context, *inputs, **resources)

    return cast("_Step", result)


def is_transient(error: BaseException | None) -> bool:
    """Whether the error, or what it was raised from, may be gone in a while."""
    if error is None or isinstance(error, dg.Failure):
        return False
    if isinstance(error, psycopg.OperationalError):
        return not (error.sqlstate or "").startswith(_LASTING)
    return isinstance(error, (psycopg.InterfaceError, ConnectionError, TimeoutError)) or is_transient(error.__cause__)


def wait_seconds(retry: int) -> float:
    """How long to wait before the retry of this number, from 0: doubled each time, half of it by chance."""
    longest = min(settings().dagster.retry_seconds * 2.0**retry, _LONGEST_SECONDS)
    return longest * random.uniform(0.5, 1.0)


@contextmanager
def _retrying(context: dg.OpExecutionContext) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_transient(error):
            raise
        raise dg.RetryRequested(settings().dagster.retries, wait_seconds(context.retry_number)) from error
