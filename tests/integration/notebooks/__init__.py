"""Tests of notebooks. A package, so that its conftest is not taken for the one above."""

from __future__ import annotations
