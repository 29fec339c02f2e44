"""Groups of the console command, a module each: they read arguments, call one function, and print."""
