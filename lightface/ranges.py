"""Numbers that a program hands in: one check for thresholds, rates, limits and sizes, before any work is done."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, Final

from lightface.errors import ConfigError, LightfaceError

_LARGEST_COUNT: Final = 10**9


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    ends: bool = True,
    whole: bool = False,
    error: type[LightfaceError] = ConfigError,
) -> None:
    """Raise `error` unless `value` is a finite number from `low` to `high`, or between them without `ends`.

    Python's numbers and numpy's are numbers; truth values and texts are not. `name` is what the value is called.
    """
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if is_number and -math.inf < value < math.inf and (low <= value <= high if ends else low < value < high):
        return
    words = "a whole number" if whole else "a number"
    if low > -math.inf and high < math.inf:
        words += f" from {low:g} to {high:g}" if ends else f" between {low:g} and {high:g}"
    elif low > -math.inf:
        words += f" of {low:g} or more" if ends else f" above {low:g}"
    raise error(f"{name} is {value!r:.60}; give {words}")


def check_count(name: str, value: Any, *, low: int = 1, error: type[LightfaceError] = ConfigError) -> None:
    """The same for a whole number of `low` or more, up to 10^9: no loop or library below is asked for more."""
    check_number(name, value, low=low, high=_LARGEST_COUNT, whole=True, error=error)
