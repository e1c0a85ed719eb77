"""ONNX Runtime's advice on how to call it is kept from the user's terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Let warnings of other libraries' loggers stay inside; the caller's logging is left as it was."""
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(former)
