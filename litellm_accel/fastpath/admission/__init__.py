"""Who may take the fast path: arguments, messages, listeners and settings, each with its reason to decline."""
