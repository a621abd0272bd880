"""An engine of slots and a queue, in simulated time, and a client that keeps to a pace."""

import heapq
from collections import deque
from itertools import count

from costctl.batch.pace import Limits, Pace, Sight


class ToyEngine:
    """Has `slots`; a request waits until one is free, and then takes `service_s()` seconds."""

    def __init__(self, slots, service_s):
        self.slots, self.service_s = slots, service_s
        self.now_s = 0.0
        self.waiting = deque()
        self.running = 0
        self.done = 0
        self.busy_slot_seconds = 0.0
        self._ends = []
        self._order = count()

    def send(self):
        self.waiting.append(self.now_s)
        self._fill()

    def next_end_s(self):
        return self._ends[0][0] if self._ends else float("inf")

    def pass_to(self, at_s):
        self.busy_slot_seconds += self.running * (at_s - self.now_s)
        self.now_s = at_s
        while self._ends and self._ends[0][0] <= at_s:
            heapq.heappop(self._ends)
            self.running -= 1
            self.done += 1
        self._fill()

    def _fill(self):
        while self.waiting and self.running < self.slots:
            self.waiting.popleft()
            self.running += 1
            heapq.heappush(self._ends, (self.now_s + self.service_s(), next(self._order)))


def paced(engine, *, seconds, warm_up_s, limits=None, counters=True, round_trip_s=0.005):
    """Drive the engine; return the pace at the end and the share of its slots that was busy after the warm-up."""
    pace = Pace.first(limits or Limits())
    look_s, pause_s, busy_before = 0.0, 0.1, None
    coming = []
    while engine.now_s < seconds:
        while len(coming) + engine.running + len(engine.waiting) < pace.allowed:
            coming.append(engine.now_s + round_trip_s)
        arrival_s = coming[0] if coming else float("inf")
        engine.pass_to(min(engine.next_end_s(), look_s, arrival_s, seconds))
        while coming and coming[0] <= engine.now_s:
            coming.pop(0)
            engine.send()
        if busy_before is None and engine.now_s >= warm_up_s:
            busy_before = (engine.busy_slot_seconds, engine.now_s)
        if engine.now_s >= look_s:
            in_flight = len(coming) + engine.running + len(engine.waiting)
            seen = {"running": engine.running, "waiting": len(engine.waiting)} if counters else {}
            pace = pace.steered(Sight(at_s=engine.now_s, in_flight=in_flight, done=engine.done, **seen))
            pause_s = min(1.0, pause_s * 1.25)
            look_s += pause_s
    busy, since_s = busy_before
    return pace, (engine.busy_slot_seconds - busy) / (engine.slots * (seconds - since_s))
