"""A local issuer of sign-in tokens (OpenID Connect): discovery, keys, and tokens for seeded people."""
