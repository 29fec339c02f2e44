"""The text of the demo, what is searched in it, and the arithmetic on its vectors. Laptop; no Spark, no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from server_utils.errors import EnvironmentMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Vectors = npt.NDArray[np.floating[Any]]

QUERIES = (
    "a scary film about ghosts and vampires",
    "animation that children will love",
    "a documentary about musicians",
    "a boring sequel nobody asked for",
)


@dataclass(frozen=True)
class Review:
    """A snippet of a movie review. score: what people thought of it on average, -4 (bad) to 4 (good)."""

    id: int
    score: float
    text: str


@dataclass(frozen=True)
class Hit:
    """A row that answers a query. similarity: the cosine of the angle between their vectors."""

    row: int
    similarity: float


def read(path: Path) -> list[Review]:
    """All reviews of the file: id, score and text between tabs, no quoting, lines that end with CR LF.

    Raises:
        EnvironmentMissingError: if the file holds anything else.
    """
    try:
        # Not splitlines(): it would also cut at the odd separators that a text may hold.
        lines = path.read_bytes().decode().split("\n")
        fields = [line.rstrip("\r").split("\t", 2) for line in lines if line.strip()]
        return [Review(int(number), float(score), text) for number, score, text in fields]
    except ValueError as err:
        msg = f"{path} is not what was fetched ({err}). Remove {path.parent} and run `spark-sidecar assets fetch`."
        raise EnvironmentMissingError(msg) from err


def evenly(reviews: Sequence[Review], rows: int) -> list[Review]:
    """So many of them, evenly spread: the file begins with the good films and ends with the bad ones."""
    rows = min(rows, len(reviews))
    return [reviews[number * len(reviews) // rows] for number in range(rows)]


def top_hits(vectors: Vectors, query: Vectors, count: int = 3) -> list[Hit]:
    """The rows most similar to a query, best first; fewer where there are fewer rows.

    vectors: shape (n, d). query: shape (d,).
    """
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    similarity = (vectors @ query) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return [Hit(int(row), float(similarity[row])) for row in np.argsort(-similarity, kind="stable")[:count]]


@dataclass(frozen=True)
class Map:
    """A plane through a cloud of vectors.

    center: shape (d,). axes: shape (2, d), orthonormal. shares: how much of the variance each axis shows, 0 to 1.
    """

    center: Vectors
    axes: Vectors
    shares: tuple[float, float]

    def place(self, vectors: Vectors) -> Vectors:
        """Where vectors of shape (n, d) fall on the plane: shape (n, 2)."""
        return (vectors - self.center) @ self.axes.T


def widest_plane(vectors: Vectors) -> Map:
    """The plane that shows the most of the vectors' variance: the first two principal components.

    vectors: shape (n, d), at least two columns.
    """
    center = vectors.mean(axis=0)
    centered = vectors - center
    # By the small d x d matrix: its eigenvectors are the right singular vectors of the tall (n, d) one.
    variances, directions = np.linalg.eigh(centered.T @ centered)
    axes = directions[:, ::-1][:, :2].T
    # An axis may point either way; fixed, so that two runs draw the same map.
    axes = axes * np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]
    shares = variances[::-1][:2] / max(float(variances.sum()), np.finfo(np.float32).tiny)
    return Map(center, axes, (float(shares[0]), float(shares[1])))
