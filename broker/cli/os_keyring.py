"""The OS keyring, where there is one that protects what it keeps; whatever goes wrong with it, it is done without."""

from collections.abc import Callable
from threading import Thread
from typing import Final, Protocol, TypeVar

Result = TypeVar("Result")

SERVICE: Final = "broker"
"""What the entries are called."""
_PATIENCE: Final = 30.0
"""Seconds for one answer: a person may have to unlock it, or nobody is there to do so."""


class Backend(Protocol):
    """What is used of a backend of the ``keyring`` library."""

    def get_password(self, service: str, username: str, /) -> str | None:
        """The secret, or ``None``."""

    def set_password(self, service: str, username: str, password: str, /) -> None:
        """Keep a secret."""

    def delete_password(self, service: str, username: str, /) -> None:
        """Drop a secret."""


def system_backend() -> Backend | None:
    """The machine's own, unless it is one that fails, keeps nothing, or keeps plain text."""
    import keyring  # noqa: PLC0415 - takes a quarter of a second, and looks for a session bus
    from keyring.backends import chainer, fail, null  # noqa: PLC0415

    backend = keyring.get_keyring()
    members = backend.backends if isinstance(backend, chainer.ChainerBackend) else [backend]
    # Those that write files of their own, in plain text or with a password that they ask for, have a priority below 1.
    real = [one for one in members if not isinstance(one, fail.Keyring | null.Keyring) and one.priority >= 1]
    return real[0] if real else None


class OsKeyring:
    """Secrets by name. Whatever goes wrong means: it has none, or takes none."""

    def __init__(self, find: Callable[[], Backend | None] = system_backend, patience: float = _PATIENCE) -> None:
        self._find = find
        self._patience = patience
        self._found: list[Backend | None] = []

    def read(self, name: str) -> str | None:
        """The secret, if it is there and given away."""
        return self._asked(lambda backend: backend.get_password(SERVICE, name))

    def write(self, name: str, secret: str) -> bool:
        """Whether the secret is kept now."""

        def put(backend: Backend) -> bool:
            backend.set_password(SERVICE, name, secret)
            # Some answer a write that they did not do.
            return backend.get_password(SERVICE, name) == secret

        return self._asked(put) or False

    def drop(self, name: str) -> None:
        """Forget the secret."""
        self._asked(lambda backend: backend.delete_password(SERVICE, name))

    def _asked(self, ask: Callable[[Backend], Result]) -> Result | None:
        """What a backend answers, within our patience; after a failure it isn't asked again."""
        answers: list[Result] = []

        def work() -> None:
            try:
                backend = self._backend()
                if backend is not None:
                    answers.append(ask(backend))
            except Exception:  # noqa: S110 - backends raise whatever their system raises
                pass

        # A daemon: one that waits for a person who isn't there must not keep the command from ending.
        thread = Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._patience)
        if thread.is_alive():
            self._found = [None]
        return answers[0] if answers else None

    def _backend(self) -> Backend | None:
        if not self._found:
            self._found = [self._find()]
        return self._found[0]
