"""The commands about bills: hand in files, look at what the sources say, compare it, judge it."""
