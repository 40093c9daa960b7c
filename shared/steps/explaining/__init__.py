"""Where figures come from: each file says what is kept of one thing, or what follows from it."""
