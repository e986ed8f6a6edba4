"""The join worker: impressions and clicks of Kafka topics become examples of another, exactly once."""
