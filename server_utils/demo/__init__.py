"""The demo: real text, a real model and real Triton servers beside an embedded Spark cluster. Laptop."""
