"""What a process has opened of a model: sessions, tokenizer, texts, decoders; each once, safe for threads and forks."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from clipfast.artifact import Artifact
from clipfast.runtime.provider_options import ProviderOptions
from clipfast.runtime.session import Session, load_provider, open_session
from clipfast.runtime.text_cache import TextCache

if TYPE_CHECKING:
    from clipfast.runtime.tokenizer import Tokenizer

__all__ = ["OpenedModel"]


class _State:
    """Everything opened by one process, until `close`. A caller keeps the one it began with."""

    def __init__(self, texts: TextCache) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.sessions: dict[str, Session] = {}
        self.tokenizer: Tokenizer | None = None
        self.decoders: ThreadPoolExecutor | None = None
        self.texts = texts


# After a fork the threads of the parent's sessions do not exist in the child, and destroying such a session would wait
# for them for ever: they are kept here, unused, until the process ends.
_of_parents: list[_State] = []


class OpenedModel:
    """Opens the parts of an artifact when they are first asked for."""

    def __init__(self, artifact: Artifact, *, provider: str | ProviderOptions, precision: str, threads: int) -> None:
        self._artifact = artifact
        self._provider = provider
        self._precision = precision
        self._threads = threads
        self._state = self._fresh()

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs that are open in this process."""
        return tuple(self._current().sessions)

    @property
    def texts(self) -> TextCache:
        """Text embeddings that were computed before."""
        return self._current().texts

    def load_provider(self, graph: str) -> None:
        """Import what a graph runs on, unless the graph is open.

        Importing holds the interpreter's lock and opening does not: what other threads do after this call, such as
        importing Pillow and decoding, takes no time of its own.
        """
        if graph not in self._current().sessions:
            load_provider(self._provider)

    def session(self, graph: str) -> Session:
        """Return a graph's session, opening it at the first call."""
        state = self._current()
        session = state.sessions.get(graph)
        if session is None:
            with state.lock:
                session = state.sessions.get(graph)
                if session is None:
                    session = open_session(
                        self._artifact,
                        graph,
                        provider=self._provider,
                        precision=self._precision_of(graph),
                        threads=self._threads,
                    )
                    state.sessions[graph] = session
        return session

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, reading it at the first call."""
        state = self._current()
        with state.lock:
            if state.tokenizer is None:
                # Not needed, and 10 ms, where only images are embedded.
                from clipfast.runtime.tokenizer import Tokenizer

                spec = self._artifact.manifest.tokenizer
                (path,) = self._artifact.verified([spec.file])
                state.tokenizer = Tokenizer.load(path, spec)
            return state.tokenizer

    def decoders(self, threads: int) -> ThreadPoolExecutor:
        """Return the threads that decode and scale for callers with one image, starting them at the first call.

        The allocator keeps for every thread what its photos took, some 30 MB after one of 12 megapixels, and does not
        give it back. Here memory is bounded by the cores, not by how many threads ask.

        Args:
            threads: How many, at least 1; the first call decides.
        """
        state = self._current()
        with state.lock:
            if state.decoders is None:
                state.decoders = ThreadPoolExecutor(threads, thread_name_prefix="clipfast-decode")
            return state.decoders

    def close(self) -> None:
        """Let go of everything; calls that are under way finish with what they hold."""
        self._state = self._fresh()

    def _current(self) -> _State:
        if self._state.process != os.getpid():
            _of_parents.append(self._state)
            self._state = self._fresh()
        return self._state

    def _precision_of(self, graph: str) -> str:
        """Texts stay fp32 beside int8 and bf16 images: they are remembered, so rounding them would save nothing."""
        return "fp32" if self._precision in {"int8", "bf16"} and graph == "text" else self._precision

    def _fresh(self) -> _State:
        manifest = self._artifact.manifest
        return _State(TextCache(manifest.fingerprint(), self._precision_of("text"), manifest.model.embed_dim))
