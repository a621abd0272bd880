from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.gpus import GpuProcess, GpuReading, busy_strangers, memory_still_held

GIB = 2**30
SLACK = GIB // 2


def gpu(used, *processes, index=0):
    return GpuReading(
        index=index, name="A10G", memory_used_bytes=used, memory_total_bytes=24 * GIB, processes=tuple(processes)
    )


def process(pid, memory=None, busy=None):
    return GpuProcess(pid=pid, memory_bytes=memory, sm_percent=busy)


def held(before, after, ours=frozenset({7})):
    return memory_still_held(before, after, ours=ours, slack_bytes=SLACK)


def test_only_other_programs_that_compute_are_busy_strangers():
    readings = (gpu(0, process(7, busy=90), process(8, busy=0), process(9)), gpu(0, process(10, busy=5), index=1))
    assert [stranger.pid for stranger in busy_strangers(readings, frozenset({7}))] == [10]


def test_memory_that_came_back_is_not_held():
    assert held((gpu(GIB),), (gpu(GIB),)) == 0


def test_the_drivers_own_crumbs_are_not_held_memory():
    assert held((gpu(GIB),), (gpu(GIB + SLACK),)) == 0


def test_memory_above_the_baseline_is_held():
    assert held((gpu(GIB),), (gpu(9 * GIB),)) == 8 * GIB


def test_memory_that_one_of_ours_still_has_is_held_however_little():
    assert held((gpu(0),), (gpu(0, process(7, memory=1000)),)) == 1000
    assert held((gpu(0),), (gpu(0, process(7)),)) == 1


def test_what_a_stranger_took_meanwhile_is_not_ours():
    assert held((gpu(GIB),), (gpu(9 * GIB, process(8, memory=8 * GIB)),)) == 0


def test_what_a_stranger_gave_back_meanwhile_does_not_hide_what_we_hold():
    before = (gpu(11 * GIB, process(8, memory=10 * GIB)),)
    assert held(before, (gpu(9 * GIB),)) == 8 * GIB


def test_every_gpu_counts():
    before = (gpu(0), gpu(0, index=1))
    assert held(before, (gpu(0), gpu(3 * GIB, index=1))) == 3 * GIB


amounts = st.integers(0, 8 * GIB)


@given(base=amounts, stranger_before=amounts, stranger_after=amounts, left=amounts)
def test_strangers_that_the_driver_names_never_matter(base, stranger_before, stranger_after, left):
    before = (gpu(base + stranger_before, process(8, memory=stranger_before)),)
    after = (gpu(base + left + stranger_after, process(9, memory=stranger_after)),)
    assert held(before, after) == (left if left > SLACK else 0)
