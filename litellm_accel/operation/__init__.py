"""Operating an accelerated process: settings, modes, statistics, alerts, and the socket at which it answers.

Nothing here is imported before something is configured or asked for.
"""
