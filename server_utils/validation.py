"""Names and numbers that users give: what is wrong is refused with the nearest right one. Driver; no Spark."""

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
    near = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {near[0]}? it takes " if near else "; it takes ") + ", ".join(known)


def near(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the nearest ones; empty where none is near."""
    names = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(names)}?" if names else ""


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
    near = difflib.get_close_matches(given.lower(), offered) or [each for each in offered if given and given in each]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"no {kind} is called {given!r}.{hint} Choose one of: {', '.join(offered)}"
