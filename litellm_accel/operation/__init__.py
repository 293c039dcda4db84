"""Operating an accelerated process: settings, modes, statistics, alerts, and who may ask for them.

Nothing here is imported before something is configured or asked for.
"""
