"""What a backend's program sees of the engine's processes."""

from __future__ import annotations

import os
import socket

from server_utils.backends import engine_watch


def test_a_port_belongs_to_the_process_that_listens_on_it():
    with socket.create_server(("127.0.0.1", 0)) as mine:
        port = mine.getsockname()[1]
        assert engine_watch.listens([1 << 30, os.getpid()], port)  # the first has ended
        assert not engine_watch.listens([1 << 30], port)
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert not engine_watch.listens([os.getpid()], client.getsockname()[1])
    assert not engine_watch.listens([os.getpid()], port)
