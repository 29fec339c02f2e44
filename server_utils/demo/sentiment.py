"""The prompts for the language model of the demo, and the scores of its answers. Laptop; no Spark, no model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from server_utils.demo.reviews import Review, evenly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

POSITIVE, NEGATIVE = "positive", "negative"
# What the server may answer: the blank belongs to the word, as in running text.
CHOICES = [f" {POSITIVE}", f" {NEGATIVE}"]
_TASK = "Decide whether each movie review is positive or negative.\n\n"
_DECIDED = 1.0  # people were of one mind: a mean score at least so far from 0
_SHOTS = 12
_SHOT_DECIDED, _SHOT_LENGTH = 2.5, 120

# Short texts with facts in them, and what is in them: the second task of the model.
PEOPLE = (
    ("Maria Lopez, 42, runs a bakery in Porto.", ("Maria Lopez", 42, "Porto")),
    ("At 67, the pianist Jonas Berg still gives concerts all over Oslo.", ("Jonas Berg", 67, "Oslo")),
    ("Our new colleague from Nairobi is Amina Otieno; she is 29 years old.", ("Amina Otieno", 29, "Nairobi")),
    ("Kenji Sato (35) moved to Osaka to open a bicycle shop.", ("Kenji Sato", 35, "Osaka")),
)


@dataclass(frozen=True)
class Judged(Review):
    """A review, and what people and the model call it: `POSITIVE` or `NEGATIVE`."""

    human: str
    model: str

    @property
    def right(self) -> bool:
        """Whether both call it the same."""
        return self.human == self.model


@dataclass(frozen=True)
class Cell:
    """How many reviews that people call one thing were called another by the model, or the same."""

    human: str
    model: str
    rows: int


def human_label(score: float) -> str:
    """What people say, by their mean score."""
    return POSITIVE if score > 0 else NEGATIVE


def few_shots(reviews: Sequence[Review]) -> list[Review]:
    """The examples in the prompt: short, of clear opinion, spread over the file, good and bad ones alternating."""
    short = [review for review in reviews if len(review.text) < _SHOT_LENGTH]
    good = evenly([review for review in short if review.score >= _SHOT_DECIDED], _SHOTS // 2)
    bad = evenly([review for review in short if review.score <= -_SHOT_DECIDED], _SHOTS // 2)
    return [review for pair in zip(good, bad, strict=True) for review in pair]


def balanced(reviews: Sequence[Review], rows: int) -> list[Review]:
    """So many reviews on which people were of one mind, half of them good, spread over the file; never an example."""
    shown = {review.id for review in few_shots(reviews)}
    decided = [review for review in reviews if abs(review.score) >= _DECIDED and review.id not in shown]
    good = [review for review in decided if human_label(review.score) == POSITIVE]
    bad = [review for review in decided if human_label(review.score) == NEGATIVE]
    each = min(max(rows // 2, 1), len(good), len(bad))
    return evenly(good, each) + evenly(bad, each)


def prompt_parts(examples: Iterable[Review]) -> tuple[str, str]:
    """The text before each review, the same for all of them, and the text after it."""
    shown = "".join(f"Review: {each.text}\nSentiment: {human_label(each.score)}\n\n" for each in examples)
    return f"{_TASK}{shown}Review: ", "\nSentiment:"


def confusion(judged: Iterable[Judged]) -> list[Cell]:
    """All four cells."""
    counts = Counter((each.human, each.model) for each in judged)
    labels = (POSITIVE, NEGATIVE)
    return [Cell(human, model, counts[human, model]) for human in labels for model in labels]


def accuracy(judged: Sequence[Judged]) -> float:
    """The share that the model calls what people call it, 0 to 1."""
    return sum(each.right for each in judged) / len(judged)


def clearest(judged: Iterable[Judged], count: int) -> list[Judged]:
    """Those on which people were most of one mind, positive and negative ones alternating."""
    ranked = sorted(judged, key=lambda each: (-abs(each.score), each.id))
    sides = [[each for each in ranked if each.human == label] for label in (POSITIVE, NEGATIVE)]
    alternating = [each for pair in zip_longest(*sides) for each in pair if each]
    return alternating[:count]
