"""The steps of the pipeline: one use case for each function. A step ends by creating the object that wakes the next."""
