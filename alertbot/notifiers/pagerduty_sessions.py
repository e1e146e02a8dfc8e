"""pdpyras, as we use it: one call is one request, in a thread. This file alone knows the library (docs/adr/0007)."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

with warnings.catch_warnings():
    # It says at its import that it is deprecated in favour of `pagerduty`. We know: docs/adr says how it is
    # replaced.
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated', category=UserWarning)
    import pdpyras

# pdpyras logs each answer that it does not like, and so do we: once is enough.
_quiet: Final = logging.getLogger("alertbot.notifiers.pagerduty.sdk")
_quiet.disabled = True

#: Any answer but 2xx, or none: then its `response` is None. Its message may have the end of the key in it.
ClientError = pdpyras.PDClientError


class _OneRequest:
    """No retries of its own, no redirects, nothing from the environment. `timeout` in seconds."""

    def __init__(self, key: str, url: str, timeout: float) -> None:
        super().__init__(key)  # type: ignore[call-arg]  # pdpyras' session, which comes next
        self.url = url
        self.timeout = timeout
        # Without a number for 429 it would repeat that without end; with -1 attempts in all the first answer
        # counts.
        self.retry = {429: 1}
        self.max_http_attempts = -1
        self.max_network_attempts = 0
        # Proxies, netrc and certificates of the environment are not for us to guess at.
        self.trust_env = False
        self.log = _quiet

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """A redirected POST would arrive as a GET without its body."""
        return super().request(method, url, **{**kwargs, "allow_redirects": False})  # type: ignore[misc]  # as above


class EventsSession(_OneRequest, pdpyras.EventsAPISession):  # type: ignore[misc]  # pdpyras has no types
    """The Events API v2, with a routing key."""


class RestSession(_OneRequest, pdpyras.APISession):  # type: ignore[misc]  # as above
    """The REST API, with a token."""


S = TypeVar("S")
T = TypeVar("T")


class Sessions(Generic[S]):
    """A few threads, each with a session of its own: one of requests belongs to one thread."""

    def __init__(self, make: Callable[[], S], threads: int, name: str) -> None:
        self._make = make
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._local = threading.local()
        self._made: list[Any] = []

    def submit(self, use: Callable[[S], T]) -> Future[T]:
        """What `use` returns or raises, in one of the threads."""
        return self._threads.submit(self._run, use)

    def _run(self, use: Callable[[S], T]) -> T:
        session: S | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._make()
            self._made.append(session)
        return use(session)

    def close(self) -> None:
        """Takes no more calls; one that is under way ends within its own time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for session in self._made:
            session.close()
