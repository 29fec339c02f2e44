"""Options of the form KEY=VALUE of the commands on clusters."""

from __future__ import annotations

import pytest

from server_utils.cli import define_cluster
from server_utils.errors import ConfigurationError


def test_pairs_keep_what_comes_after_the_first_equals_sign():
    assert define_cluster.pairs(["a=b=c", "d="], option="--conf") == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(ConfigurationError, match="--conf takes KEY=VALUE, not "):
        define_cluster.pairs([text], option="--conf")
