"""What the notebooks of this repository begin with: Spark, a model that fits the machine, and data. Driver only."""
