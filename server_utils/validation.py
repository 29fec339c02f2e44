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
            raise ConfigurationError(f"start_servers() has no option {name!r}{did_you_mean(name, known)}")
        if not isinstance(value, int | float) or value < 0:
            raise ConfigurationError(f"{name} must be a number, zero or more; it is {value!r}")
    return given


def did_you_mean(name: str, known: Collection[str], *, otherwise: str = "") -> str:
    """The end of a message about an unknown name: the nearest one, and all there are.

    otherwise: for a long list: what to do where no name is near. The message then has the nearest ones alone.
    """
    near = nearest(name, known, most=3 if otherwise else 1)
    question = f"did you mean {near}?" if near else ""
    if otherwise:
        return f"; {question or otherwise}"
    return f"; {f'{question} ' if near else ''}choose one of {', '.join(known)}"


def nearest(name: str, known: Collection[str], *, most: int = 3) -> str:
    """The known names that are most like an unknown one, as "a or b", else those that contain it; "" where none is."""
    name, by_lower = str(name), {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=most)
    near = near or [each for each in by_lower if name and name.lower() in each][:most]
    return " or ".join(by_lower[each] for each in near)


def one_deadline(timeout_s: float | None, wait_retries: int | None, wait_timeout: float | None) -> float:
    """One number of seconds from the ways to say it. Raises ConfigurationError for one that is not positive."""
    if timeout_s is None and (wait_retries or wait_timeout):
        timeout_s = (wait_retries or 24) * (wait_timeout or 5)  # the published defaults of the pair
    seconds = _START_S if timeout_s is None else timeout_s
    if not seconds > 0:
        raise ConfigurationError(f"timeout_s must be more than 0 seconds; it is {seconds!r}")
    return float(seconds)
