"""Streams: opened, read, priced and put together as LiteLLM does."""
