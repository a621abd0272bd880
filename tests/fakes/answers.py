"""A store of answers (port AnswerStore) that can be broken or slow."""

import threading

from costctl.errors import AnswerStoreError
from costctl.ports import StoreContent


class FakeStore:
    """Keeps everything; `trouble` is raised by every call, `full` by `put`, and `hold` lets calls wait until `go`."""

    name = "a store"

    def __init__(self):
        self.entries = {}
        self.trouble = self.full = None
        self.calls = 0
        self.closed = False
        self._go = threading.Event()
        self._go.set()

    def hold(self):
        self._go.clear()

    def go(self):
        self._go.set()

    def get(self, key):
        self._call()
        return self.entries.get(key)

    def put(self, key, entry, ttl_s):
        self._call()
        if self.full:
            raise AnswerStoreError(self.full)
        self.entries[key] = entry

    def content(self):
        self._call()
        return StoreContent(entries=len(self.entries))

    def clear(self):
        self._call()
        count = len(self.entries)
        self.entries.clear()
        return count

    def close(self):
        self.closed = True

    def _call(self):
        self.calls += 1
        self._go.wait(10)
        if self.trouble:
            raise AnswerStoreError(self.trouble)
