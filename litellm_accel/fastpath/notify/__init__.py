"""What callbacks, loggers and LiteLLM's own books are told of a call that was served."""
