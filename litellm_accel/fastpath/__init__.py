"""The way of a call past LiteLLM, in the order in which a call takes it.

``completion`` and ``router`` are the doors. ``pipeline`` is what they share: ``admission`` decides whether a call may
take this way, ``plans`` records calls that stock serves and learns from them, ``transport`` sends, ``notify`` tells
callbacks and loggers, ``streams`` opens and serves streams. ``passage`` keeps faults of ours from the application.
"""
