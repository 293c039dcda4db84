"""Pure-Python twins of the compiled hot paths in ``litellm_accel._cy``: same names, same results."""
