"""One module per engine: what to launch for it, and the manager that people use."""
