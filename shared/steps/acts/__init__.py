"""Acts: what people decide, one module for each; every one is proposed, shown, approved and carried out alike."""
