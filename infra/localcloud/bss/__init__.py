"""The local stand-in for BSS OpenAPI 2017-12-14: bills by payer account, in the service's real wire protocol."""
