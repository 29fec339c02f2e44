"""The clouds: one package each. Runs on the laptop; nothing in server_utils but the command line imports it."""
