"""Keeps what LiteLLM logs while it is being tried out from the application's log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Let no logger but our own say anything of what this thread does in the block; other threads' records pass."""
    here = threading.get_ident()

    def is_another_s(record: logging.LogRecord) -> bool:
        return threading.get_ident() != here

    loggers = [
        logger
        for name, logger in logging.Logger.manager.loggerDict.copy().items()
        if isinstance(logger, logging.Logger) and name != "litellm_accel"
    ]
    for logger in loggers:
        logger.addFilter(is_another_s)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_another_s)
