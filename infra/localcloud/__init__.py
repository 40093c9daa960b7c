"""A local stand-in for OSS, Tablestore, BSS OpenAPI and the function host, in their real wire protocols.

It imports nothing of the product: what it answers comes from the services' documents and recorded exchanges,
so that the shipped adapters and the genuine SDKs meet something that does not share their mistakes.
"""
