"""The hash of a file that is sent: right after every change, and read once until then."""

from __future__ import annotations

import hashlib
import os

from server_utils.storage.send_folder import sha256


def test_a_file_is_hashed_anew_only_after_it_changed(tmp_path):
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"one")
    first = sha256(wheel)
    assert first == hashlib.sha256(b"one").hexdigest()
    known = wheel.stat()
    wheel.write_bytes(b"two")
    os.utime(wheel, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert sha256(wheel) == first  # it was not read
    os.utime(wheel, ns=(known.st_atime_ns, known.st_mtime_ns + 1))
    assert sha256(wheel) == hashlib.sha256(b"two").hexdigest()
