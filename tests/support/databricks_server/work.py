"""What runs for real behind the API, each in a thread of its own: an init script, a notebook."""

from __future__ import annotations

import threading
import traceback


class Work:
    """One call, started at once. Its result is there when it is done; an exception of it is a fault of the test."""

    def __init__(self, call):
        self._call = call
        self.result = self.fault = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.result = self._call()
        except BaseException:  # noqa: BLE001  # whatever it is, a request has to tell it: this thread has no other way
            self.fault = traceback.format_exc()

    def done(self, patience_s):
        """Whether it has ended, after a wait of at most so long. Raises what went wrong in it."""
        self._thread.join(patience_s)
        if self.fault:
            raise RuntimeError(self.fault)
        return not self._thread.is_alive()
