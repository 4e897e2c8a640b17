"""How many cases: the same few in each CI run, new ones and as many as it takes in a soak."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from hypothesis import settings
from soaking import Soak

settings.register_profile("default", max_examples=60, derandomize=True)
settings.register_profile("soak", max_examples=6000)
settings.register_profile("short-soak", max_examples=600)


@pytest.fixture(autouse=True)
def count_cases(request: pytest.FixtureRequest, soak: Soak) -> Iterator[None]:
    """Tell how many cases Hypothesis has made."""
    made_by = getattr(request.function, "hypothesis", None)
    if made_by is None:
        yield
        return
    test, count = made_by.inner_test, 0

    @functools.wraps(test)
    def counting(*arguments: object, **named: object) -> object:
        nonlocal count
        count += 1
        return test(*arguments, **named)

    made_by.inner_test = counting
    yield
    made_by.inner_test = test
    soak.record("damaged file", "the readers of files in tests/doors.py", injected=count)
