"""Signatures are the gateway's, the same for every RPC service."""

from __future__ import annotations

from infra.localcloud.acs3 import SKEW_S, Request, verify

__all__ = ["SKEW_S", "Request", "verify"]
