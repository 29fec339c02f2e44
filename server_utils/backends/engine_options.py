"""The options of an engine, as its own parser lists them, and keyword arguments as the words of its command line.

Driver; starts no server. Engines rename and drop options from release to release, so none is listed here.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server_utils.environments import builder
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import platform
from server_utils.validation import did_you_mean

logger = logging.getLogger(__name__)
_SCRIPT = Path(__file__).with_name("list_options.py")


@dataclass(frozen=True)
class Option:
    """One option of the engine. flag: it takes no value. many: it takes several words."""

    names: tuple[str, ...]
    flag: bool
    many: bool
    choices: tuple[str, ...]


Options = Mapping[str, Option]


def engine_options(environment: str, *, engine: str) -> Options | None:
    """The options of an environment's engine by name, as `--max-model-len`; None where this machine has no engine.

    engine: its name for people.

    Raises:
        EnvironmentMissingError: the engine is there, but its parser cannot be run.
    """
    try:
        python = builder.find(environment).python
    except (ConfigurationError, EnvironmentMissingError) as error:
        logger.warning("%s's options are checked when the servers start, not before: %s", engine, error)
        return None
    options = _described(python, environment, _cache(python))
    return {name: option for option in options for name in option.names}


def listed_options(*, values: Iterable[str] = (), switches: Iterable[str] = ()) -> Options:
    """Options by their names as keyword arguments, for an engine with a few. switches: `--x` and `--no-x`."""
    flags = [(option_of(name), option_of(f"no_{name}")) for name in switches]
    options = [Option((option_of(name),), flag=False, many=False, choices=()) for name in values]
    options += [Option(names, flag=True, many=False, choices=()) for names in flags]
    return {name: option for option in options for name in option.names}


def _cache(python: Path) -> Path:
    """One file per environment as it is now: a rebuilt one is another folder."""
    built = python.parents[1].stat()
    identity = hashlib.sha256(f"{python} {built.st_ino} {built.st_mtime_ns}".encode()).hexdigest()[:16]
    return platform.home() / "cache" / f"options-{identity}.json"


@functools.lru_cache(maxsize=8)
def _described(python: Path, environment: str, cache: Path) -> tuple[Option, ...]:
    """The engine's options: from the file, else from its parser, which takes seconds.

    The home may be another user's, or read-only: this process remembers them as well.
    """
    try:
        return _read(cache.read_text())
    except (OSError, ValueError, KeyError, TypeError):  # not there, not to be read, or cut short by a full disk
        text = _list_options(python, environment)
    _keep(cache, text)
    return _read(text)


def _read(text: str) -> tuple[Option, ...]:
    options = [Option(tuple(e["names"]), e["flag"], e["many"], tuple(e["choices"])) for e in json.loads(text)]
    if not options:
        raise ValueError("an engine without options is none")
    return tuple(options)


def _keep(cache: Path, text: str) -> None:
    beside = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(cache)
    except OSError as error:
        logger.info("An engine's options are not kept for the next process: %s", error)
        with suppress(OSError):
            beside.unlink()


def _list_options(python: Path, environment: str) -> str:
    """What the engine's own parser lists, as JSON."""
    done = subprocess.run([python, "-I", _SCRIPT, environment], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentMissingError(
            f"the engine in {python.parents[1]} does not start: {done.stderr.strip()[-800:]}\n"
            f"Run `spark-sidecar env build {environment}`."
        )
    return done.stdout[done.stdout.index("[{") :]  # engines print other lines first


@dataclass(frozen=True)
class CommandLine:
    """Keyword arguments as the words of an engine's command line, checked.

    Attributes:
        engine: its name in refusals.
        command: what lists its options with `--help`; empty where we take fewer than it does, which are listed then.
        available: its options; None where this machine has no engine that lists them, so that nothing is checked.
        ours: the options that a user cannot choose, each with the reason.
    """

    engine: str
    command: str
    available: Options | None
    ours: Mapping[str, str] = field(default_factory=dict)

    def words(self, options: Iterable[tuple[str, Any]]) -> list[str]:
        """The words for names with values, as they are: the caller passes them through `literal`.

        True gives `--x`, False `--no-x`, a mapping JSON, a sequence several words. A None is left to the engine.

        Raises:
            ConfigurationError: an option is ours, or the engine does not know it; with the names that are near.
        """
        words: list[str] = []
        for name, value in options:
            self._check_ours(name)
            if value is not None:
                words += self._words(name, value)
        return words

    def _check_ours(self, name: str) -> None:
        """Engines take the beginning of an option for all of it, which only their own list of options would refuse."""
        meant = name
        if self.available is None and name not in self.ours:
            meant = next((each for each in self.ours if each.startswith(name)), name)
        if meant in self.ours:
            raise ConfigurationError(f"{name} cannot be chosen: {self.ours[meant]}")

    def _words(self, name: str, value: Any) -> list[str]:
        option = option_of(name)
        if self.available is not None and option not in self.available:
            raise ConfigurationError(self._unknown(name, self.available))
        if isinstance(value, bool):
            return [self._switch(name, value)]
        if isinstance(value, Mapping):
            return [option, json.dumps(value)]
        if isinstance(value, Sequence) and not isinstance(value, str):
            if self.available is not None and self.available[option].many:
                return [option, *map(str, value)]
            return [word for each in value for word in (option, str(each))]
        self._check_choice(name, str(value))
        return [option, str(value)]

    def _switch(self, name: str, value: bool) -> str:  # noqa: FBT001 - the value of the option
        option, negated = option_of(name), f"--no-{name.replace('_', '-')}"
        if self.available is not None and not self.available[option].flag and negated not in self.available:
            raise ConfigurationError(f"{name} takes a value, not {value}; {self.engine} knows no {negated}")
        if value:
            return option
        if self.available is not None and negated not in self.available:
            raise ConfigurationError(f"{name}=False cannot be said: {self.engine} knows no {negated}; leave {name} out")
        return negated

    def _check_choice(self, name: str, value: str) -> None:
        choices = self.available[option_of(name)].choices if self.available is not None else ()
        if choices and value not in choices:
            raise ConfigurationError(f"{name} must be one of {', '.join(choices)}; it is {value!r}")

    def _unknown(self, name: str, available: Options) -> str:
        names = [each.removeprefix("--").replace("-", "_") for each in available if each.startswith("--")]
        hint = did_you_mean(name, names, otherwise=self.command and f"`{self.command} --help` lists what it takes")
        return f"{self.engine} has no option {name!r}{hint}"


def option_of(name: str) -> str:
    """The option that a keyword argument stands for."""
    return f"--{name.replace('_', '-')}"
