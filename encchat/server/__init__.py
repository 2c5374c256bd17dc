"""The service: Protocol and Factory classes that carry the core's sessions over any cipher."""
