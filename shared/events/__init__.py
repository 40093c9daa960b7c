"""Events out: what the chain says, told to other systems as CloudEvents, and where a party wants to be told."""
