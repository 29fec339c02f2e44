"""A Databricks workspace as a protocol server on loopback: databricks-sdk drives it, and it executes what it is given.

What the SDK cannot send is refused (`schema.py`). States move with a clock that the test moves (`clock.py`). Faults are
plain data (`faults.py`). `server.py` puts the parts together; each of the others is one part of the API.
"""
