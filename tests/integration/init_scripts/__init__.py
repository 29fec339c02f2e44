"""The init scripts, run as root on nodes that are thrown away. A package, so that its conftest is not another's."""

from __future__ import annotations
