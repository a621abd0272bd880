from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.startup import StartPhase, StartTrack, breakdown, observe

LOGS = Path(__file__).parent.parent / "data" / "vllm_logs"
VLLM_0_21 = (
    (0.4, "\x1b[0;36m(APIServer pid=11)\x1b[0;0m INFO 11-21 10:00:20 [utils.py:299] vLLM API server version 0.21.0"),
    (
        41.0,
        "\x1b[0;36m(EngineCore pid=12)\x1b[0;0m INFO 11-21 10:00:41 [c.py:109] Initializing a V1 LLM engine (v0.21.0)",
    ),
    (
        45.0,
        "\x1b[0;36m(EngineCore pid=12)\x1b[0;0m INFO 11-21 10:00:45 [m.py:4865] Starting to load model m...",
    ),
    (46.0, "(EngineCore pid=12) INFO 11-21 10:00:46 [default_loader.py:398] Loading weights took 0.90 seconds"),
    (
        46.5,
        "(EngineCore pid=12) INFO 11-21 10:00:46 [m.py:4960] Model loading took 3.22 GiB memory and 1.4 seconds",
    ),
    (
        47.5,
        "(EngineCore pid=12) INFO 11-21 10:00:47 [backends.py:1069] Using cache directory: /c for vLLM's torch.compile",
    ),
    (55.0, "(EngineCore pid=12) INFO 11-21 10:00:55 [backends.py:1128] Dynamo bytecode transform time: 7.91 s"),
    (
        70.0,
        "(EngineCore pid=12) INFO 11-21 10:01:10 [b.py:391] Compiling a graph for compile range (1, 8192) takes 14 s",
    ),
    (71.0, "(EngineCore pid=12) INFO 11-21 10:01:11 [monitor.py:53] torch.compile took 23.9 s in total"),
    (80.0, "(EngineCore pid=12) INFO 11-21 10:01:20 [gpu_worker.py:463] Available KV cache memory: 61.3 GiB"),
    (80.1, "(EngineCore pid=12) INFO 11-21 10:01:20 [kv_cache_utils.py:1710] GPU KV cache size: 574,144 tokens"),
    (
        80.2,
        "(EngineCore pid=12) INFO 11-21 10:01:20 [k.py:1715] Maximum concurrency for 8,192 tokens per request: 70.09x",
    ),
    (81.0, "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):   0%|          | 0/51 [00:00<?, ?it/s]"),
    (87.0, "(EngineCore pid=12) INFO 11-21 10:01:27 [m.py:6060] Graph capturing finished in 6 secs, took 0.55 GiB"),
    (
        87.5,
        "(EngineCore pid=12) [c.py:9] init engine (profile, create kv cache, warmup model) took 4 s",
    ),
    (
        89.0,
        "(APIServer pid=11) INFO 11-21 10:01:29 [api_server.py:500] Starting vLLM API server 0 on http://127.0.0.1:8000",
    ),
)


def follow(lines, track=None):
    track = track or StartTrack()
    for at_s, line in lines:
        track = observe(track, line, at_s)
    return track


def recorded(name):
    """Read a log whose lines begin with the seconds since launch."""
    last = 0.0
    for line in (LOGS / f"{name}.log").read_text().splitlines():
        stamp, _, text = line.partition(" ")
        last = float(stamp) if stamp else last
        yield last, text


def test_a_start_of_vllm_0_21_on_a_gpu():
    track = follow(VLLM_0_21)
    assert breakdown(track, 90.0) == pytest.approx(
        {"imports": 45.0, "weights": 1.5, "compile": 24.5, "profile": 10.0, "graphs": 6.5, "serving": 2.5}
    )
    assert track.phase is StartPhase.SERVING
    assert track.kv_cache_tokens == 574_144
    assert track.max_concurrency == 70.09
    assert track.model_memory_gib == 3.22
    assert track.compile_cached is False


def test_an_eager_start_of_vllm_0_32():
    track = follow(recorded("start-eager"))
    assert [phase.value for phase, _ in track.marks] == ["imports", "weights", "profile", "serving"]
    assert breakdown(track, 38.8)["imports"] == pytest.approx(33.5, abs=0.1)
    assert track.kv_cache_tokens == 2_097_152
    assert track.max_concurrency == 512.0
    assert track.compile_cached is None


@pytest.mark.parametrize(("name", "compile_s"), [("start-compiled-cold", 29.6), ("start-compiled-again", 10.6)])
def test_a_compiled_start_of_vllm_0_32(name, compile_s):
    """The second one found a compile cache that it could not load."""
    track = follow(recorded(name))
    assert [phase.value for phase, _ in track.marks] == ["imports", "weights", "compile", "profile", "serving"]
    assert breakdown(track, 90.0)["compile"] == pytest.approx(compile_s, abs=0.1)
    assert track.compile_cached is False


def test_a_download_is_known_when_it_is_over():
    lines = (
        (10.0, "Starting to load model acme/m..."),
        (70.0, "Time spent downloading weights for acme/m: 59.1 seconds"),
    )
    track = follow(lines)
    assert track.phase is StartPhase.WEIGHTS
    assert breakdown(track, 75.0) == {"imports": 10.0, "download": 60.0, "weights": 5.0}


def test_what_was_loaded_from_the_cache_and_compiled_in_part_is_not_cached():
    loaded, compiled = "Directly load the compiled graph(s) for compile range", "Compiling a graph for compile range"
    assert follow([(1.0, loaded)]).compile_cached is True
    assert follow([(1.0, loaded), (2.0, compiled)]).compile_cached is False
    assert follow([(1.0, compiled), (2.0, loaded)]).compile_cached is False


def test_a_late_line_of_an_earlier_phase_changes_nothing():
    done = follow(VLLM_0_21)
    assert observe(done, "Starting to load model drafter...", 95.0) == done
    assert observe(done, "torch.compile took 1.00 s in total", 95.0) == done


def test_ready_before_the_last_line_was_read():
    assert breakdown(follow(VLLM_0_21), 60.0) == pytest.approx(
        {"imports": 45.0, "weights": 1.5, "compile": 13.5, "profile": 0.0, "graphs": 0.0, "serving": 0.0}
    )


_FRAGMENTS = st.sampled_from([line for _, line in VLLM_0_21]) | st.sampled_from(
    ["KV cache size: ,, tokens", "Model loading took GiB", "Maximum concurrency for 1 tokens per request: x", "nan"]
)


@given(st.lists(st.tuples(st.floats(0, 1e6), _FRAGMENTS | st.text(max_size=60)), max_size=30), st.floats(0, 1e6))
def test_phases_go_forward_and_add_up_whatever_the_log_says(lines, ready_at_s):
    order = list(StartPhase)
    track = StartTrack()
    for at_s, line in sorted(lines):
        before = track
        track = observe(track, line, at_s)
        assert len(track.marks) >= len(before.marks)
    places = [order.index(phase) for phase, _ in track.marks]
    assert places == sorted(set(places))
    assert sum(breakdown(track, ready_at_s).values()) == pytest.approx(ready_at_s, abs=1e-6)
    assert all(seconds >= 0 for seconds in breakdown(track, ready_at_s).values())
