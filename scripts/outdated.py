"""Called by `./run outdated`, say once a week: resolves every .in file again beside the locks, and says what moved.

Changes nothing. Ends 0 if nothing moved, 1 if something did, 2 if it could not be resolved. With --json the moves are
printed as JSON: lock -> package -> [versions now, versions then].
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from server_utils.environments.lock_files import FOLDER, pins

ROOT = Path(__file__).parents[1]
Moves = dict[str, dict[str, tuple[list[str], list[str]]]]


def moved(now: Path, then: Path) -> Moves:
    """What differs between two folders of lock files; locks without a difference are left out."""
    by_lock = {lock.stem: _between(pins(now / lock.name), pins(lock)) for lock in sorted(then.glob("*.txt"))}
    return {name: moves for name, moves in by_lock.items() if moves}


def _between(now: dict[str, set[str]], then: dict[str, set[str]]) -> dict[str, tuple[list[str], list[str]]]:
    pairs = {name: (sorted(now.get(name, ())), sorted(then.get(name, ()))) for name in sorted(now.keys() | then.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def main(arguments: list[str]) -> int:
    """Resolve, compare, print."""
    with tempfile.TemporaryDirectory() as folder:
        locked = subprocess.run([ROOT / "scripts" / "lock.sh"], env=os.environ | {"LOCK_TO": folder}, check=False)
        if locked.returncode:
            print("error: not everything could be resolved; the reason is above", file=sys.stderr)
            return 2
        moves = moved(FOLDER, Path(folder))
    if arguments == ["--json"]:
        print(json.dumps(moves, indent=2))
    for name, packages in moves.items() if arguments != ["--json"] else ():
        print(f"{name}:")
        for package, (before, after) in packages.items():
            print(f"  {package} {', '.join(before) or 'none'} -> {', '.join(after) or 'none'}")
    return int(bool(moves))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
