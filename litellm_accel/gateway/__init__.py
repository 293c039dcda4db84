"""Requests of LiteLLM's proxy on a shorter way through its web framework."""
