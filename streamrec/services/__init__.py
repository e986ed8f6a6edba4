"""Real servers on this machine without Docker: an Apache Kafka cluster and a Redis, on loopback only."""
