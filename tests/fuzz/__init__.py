"""Coverage-guided fuzzing of everything that reads bills: `python -m tests.fuzz`, and a bounded run in the tests."""
