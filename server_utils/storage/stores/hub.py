"""A model hub as a source to copy from, once: `hf://org/name[@revision]`, or a data set. Never a node's store.

A data set is `hf://datasets/org/name[@revision[/files]]`, with a pattern of files. Laptop or driver. The token comes
from HF_TOKEN or the hub's own login, and is never logged.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from server_utils.errors import EnvironmentMissingError, ModelNotFoundError, StorageError
from server_utils.host.redaction import scrub
from server_utils.storage.urls import Address

_DATA = "datasets/"


def download(source: Address, to: Path) -> None:
    """Copy a repository of the hub into a folder, as plain files; without a revision from its default branch.

    Raises:
        ModelNotFoundError: the hub has no such model or data set, none that this token may see, or none of its files.
        StorageError: the hub cannot be reached, or refuses.
    """
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise EnvironmentMissingError("hf:// needs huggingface-hub: pip install 'spark-sidecar[hf]'") from error
    kind, name = ("dataset", source.path[len(_DATA) :]) if source.path.startswith(_DATA) else ("model", source.path)
    revision, files = source.bucket or None, source.files or None
    try:
        api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        api.snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=files, local_dir=to)
        shutil.rmtree(to / ".cache", ignore_errors=True)  # the hub's notes about this copy
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError, hub.errors.GatedRepoError):
        raise ModelNotFoundError(
            f"the hub has no {kind} {name!r} (revision {revision or 'default'}) that may be read: check the name, "
            "accept its licence on the hub's page, and set HF_TOKEN"
        ) from None
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        raise StorageError(
            f"{source} could not be copied: {' '.join(scrub(error).split())}; try again later, or set HF_TOKEN"
        ) from None
    if not any(to.iterdir()):
        lacking = "no such files: check the path after the revision" if source.files else "no files: look for it"
        raise ModelNotFoundError(f"{source} has {lacking} on the hub's page")
