"""From GPU facts to a cluster: catalogue, Spark conf, cluster, fit."""
