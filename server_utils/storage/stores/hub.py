"""A model hub as a source to copy from, once: `hf://org/name[@revision]`. Laptop or driver; never a node's store.

The token comes from HF_TOKEN or the hub's own login, and is never logged.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from server_utils.errors import EnvironmentMissingError, ModelNotFoundError, StorageError
from server_utils.host.redaction import scrub


def download(name: str, revision: str, to: Path) -> None:
    """Copy a repository of the hub into a folder, as plain files. revision: "" for the default branch.

    Raises:
        ModelNotFoundError: the hub has no such model, or none that this token may see.
        StorageError: the hub cannot be reached, or refuses.
    """
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise EnvironmentMissingError("hf:// needs huggingface-hub: pip install 'spark-sidecar[hf]'") from error
    try:
        api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        api.snapshot_download(name, revision=revision or None, local_dir=to)
        shutil.rmtree(to / ".cache", ignore_errors=True)  # the hub's notes about this copy
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError, hub.errors.GatedRepoError):
        raise ModelNotFoundError(
            f"the hub has no model {name!r} (revision {revision or 'default'}) that may be read: check the name, "
            "accept its licence on the hub's page, and set HF_TOKEN"
        ) from None
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        raise StorageError(
            f"hf://{name} could not be copied: {scrub(error)}; try again later, or set HF_TOKEN"
        ) from None
