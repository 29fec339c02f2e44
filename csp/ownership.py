"""The owner of a deployment: nobody changes another person's deployment by accident. Laptop.

All users of a cloud share the names of deployments. In some clouds a cluster names the user who made it. The folder of
a deployment always names its owner, in an object that the first upload writes. So files, logs and models have an owner
even after the cluster is deleted.
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
    """Refuse a deployment whose clusters or files belong to another person.

    Raises:
        DeploymentError: names the owner.
    """
    roots = dict.fromkeys(filter(None, [*(each.root for each in states), session.cloud.root(name)]))
    owners = {each.owner for each in states} | {_owner_of(session, root) for root in roots}
    _refuse_others(session, name, owners)


def claim(session: Session, name: str) -> None:
    """Write the owner into the folder of a deployment, if the folder names none yet.

    Raises:
        DeploymentError: the deployment belongs to another person.
    """
    root = session.cloud.root(name)
    owner = _owner_of(session, root)
    if not owner and (new_owner := _acting_owner(session)):

        def write() -> None:
            try:
                session.cloud.store(root).write(_KEY, new_owner.encode(), replaces=None)
            except ChangedError:
                return  # another person was faster, or our first request has arrived

        session.call(write, f"writing {root}/{_KEY}")
        owner = _owner_of(session, root)
    _refuse_others(session, name, {owner})


def _acting_owner(session: Session) -> str:
    return session.owner or session.call(session.cloud.user, "asking who is signed in")


def _owner_of(session: Session, root: str) -> str:
    """Return the owner of a folder; "" if it names none."""

    def read() -> str:
        try:
            return session.cloud.store(root).read(_KEY)[0].decode().strip()
        except ObjectNotFoundError:
            return ""

    return session.call(read, f"asking whose {root} is")


def _refuse_others(session: Session, name: str, owners: set[str]) -> None:
    """Refuse every owner but the one that `--owner` names, and the signed-in user, who may have acted for that one."""
    other_owners = owners - {"", session.owner}
    if not other_owners:
        return
    user = session.call(session.cloud.user, "asking who is signed in")
    if others := sorted(other_owners - {user}):
        raise DeploymentError(
            f"{name!r} is a deployment of {', '.join(others)}, and you are {user or 'unknown'}; nothing was changed. "
            f"Choose another --name, or give --owner {others[0]} if you mean it",
            Exit.TAKEN,
        )
