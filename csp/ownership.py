"""Whose a deployment is: nobody changes another person's by accident. Laptop.

A cluster tells who made it, in some clouds. The folder of a deployment tells it always, by an object that the first
upload writes: names are shared, and files, logs and models stay where there is no cluster any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from csp.cloud import ClusterState, Exit
from csp.cloud_session import Session
from server_utils.errors import DeploymentError
from server_utils.storage.stores.base import ChangedError, ObjectNotFoundError

FOLDER = "owner"  # below the root of a deployment
_KEY = f"{FOLDER}/name"


def check(session: Session, name: str, states: Sequence[ClusterState]) -> None:
    """Refuse to touch what another person made: clusters, and files that need no cluster.

    Raises:
        DeploymentError: says whose it is.
    """
    roots = dict.fromkeys(filter(None, [*(each.root for each in states), session.cloud.root(name)]))
    owners = {each.owner for each in states} | {_owner_of(session, root) for root in roots}
    _refuse_others(session, name, owners)


def claim(session: Session, name: str) -> None:
    """Write whose the folder of a deployment is, where nothing says so yet.

    Raises:
        DeploymentError: it is another person's.
    """
    root = session.cloud.root(name)
    owner = _owner_of(session, root)
    if not owner and (mine := _mine(session)):

        def write() -> None:
            try:
                session.cloud.store(root).write(_KEY, mine.encode(), replaces=None)
            except ChangedError:
                return  # somebody was faster, or our first try was heard

        session.call(write, f"writing {root}/{_KEY}")
        owner = _owner_of(session, root)
    _refuse_others(session, name, {owner})


def _mine(session: Session) -> str:
    return session.owner or session.call(session.cloud.user, "asking who is signed in")


def _owner_of(session: Session, root: str) -> str:
    """Whose a folder is; "" where nothing says so."""

    def read() -> str:
        try:
            return session.cloud.store(root).read(_KEY)[0].decode().strip()
        except ObjectNotFoundError:
            return ""

    return session.call(read, f"asking whose {root} is")


def _refuse_others(session: Session, name: str, owners: set[str]) -> None:
    """Refuse what is neither of the owner that the user names nor of who is signed in, who may have made it."""
    theirs = owners - {"", session.owner}
    if not theirs:
        return
    user = session.call(session.cloud.user, "asking who is signed in")
    if others := sorted(theirs - {user}):
        raise DeploymentError(
            f"{name!r} is a deployment of {', '.join(others)}, and you are {user or 'unknown'}; nothing was changed. "
            f"Choose another --name, or give --owner {others[0]} if you mean it",
            Exit.TAKEN,
        )
