"""Cloud service providers: one package for each. Runs on a laptop; only the command line of server_utils imports it."""
