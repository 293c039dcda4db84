"""Compiled hot paths. Each module has a twin of the same name in ``litellm_accel._py``."""
