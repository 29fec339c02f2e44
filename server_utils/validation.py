"""Checks of names and numbers that users give; errors offer the nearest right name. Driver; no Spark."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from server_utils.errors import ConfigurationError

_START_S = 600.0


def checked(given: Mapping[str, Any], known: Collection[str]) -> Mapping[str, Any]:
    """Options of `start_servers` as they were given. Raises ConfigurationError for an unknown one or no number."""
    for name, value in given.items():
        if name not in known:
            raise ConfigurationError(f"start_servers() has no option {name!r}{one_of(name, known)}")
        if not isinstance(value, int | float) or value < 0:
            raise ConfigurationError(f"{name} must be a number, zero or more; it is {value!r}")
    return given


def one_of(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the nearest one, and all there are."""
    near = nearest(name, known, most=1)
    return (f"; did you mean {near}? it takes " if near else "; it takes ") + ", ".join(known)


def nearest(name: str, known: Collection[str], *, most: int = 3) -> str:
    """The known names that are most like an unknown one, as "a or b"; "" where none is."""
    return " or ".join(difflib.get_close_matches(name, known, n=most))


def one_deadline(timeout_s: float | None, wait_retries: int | None, wait_timeout: float | None) -> float:
    """One number of seconds from the ways to say it. Raises ConfigurationError for one that is not positive."""
    if timeout_s is None and (wait_retries or wait_timeout):
        timeout_s = (wait_retries or 24) * (wait_timeout or 5)  # the published defaults of the pair
    seconds = _START_S if timeout_s is None else timeout_s
    if not seconds > 0:
        raise ConfigurationError(f"timeout_s must be more than 0 seconds; it is {seconds!r}")
    return float(seconds)


def unknown(kind: str, given: str, *, offered: list[str]) -> str:
    """The text of an error about a name that is not in a list, with the nearest that are."""
    near = nearest(given.lower(), offered) or " or ".join(each for each in offered if given and given in each)
    hint = f" Did you mean {near}?" if near else ""
    return f"no {kind} is called {given!r}.{hint} Choose one of: {', '.join(offered)}"
