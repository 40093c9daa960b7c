"""What people do over HTTP: they sign in, look at what waits, propose, approve and reject."""
