import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.engines import Counters, Endpoint, ExitStatus, read_counters

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.2e+03
vllm:generation_tokens_total{engine="0",model_name="m"} 50.0
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.34
"""


def test_vllms_counters_are_read():
    assert read_counters(VLLM) == Counters(
        running=3, waiting=1, prompt_tokens=1200, generation_tokens=50, kv_cache_percent=34
    )


def test_counters_are_summed_over_engines_and_models():
    both = VLLM + VLLM.replace('engine="0"', 'engine="1"').replace("0.34", "0.5")
    assert read_counters(both) == Counters(
        running=6, waiting=2, prompt_tokens=2400, generation_tokens=100, kv_cache_percent=50
    )


def test_a_share_that_is_none_is_left_out():
    counters = read_counters(VLLM.replace("0.34", "NaN"))
    assert counters is not None
    assert counters.kv_cache_percent is None


@pytest.mark.parametrize(
    "text",
    [
        'sglang:num_running_reqs{a="b"} 2\nsglang:prompt_tokens_total 10',
        "llamacpp:requests_processing 2\nllamacpp:prompt_tokens_total 10",
    ],
)
def test_other_servers_say_it_with_other_names(text):
    assert read_counters(text) == Counters(running=2, waiting=0, prompt_tokens=10, generation_tokens=0)


@pytest.mark.parametrize("text", ["", "process_cpu_seconds_total 3", "<html>not metrics</html>"])
def test_a_server_without_these_counters_has_none(text):
    assert read_counters(text) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_a_counter_that_is_no_number_is_no_counter(value):
    assert read_counters(f"vllm:prompt_tokens_total {value}") is None


def test_a_line_that_cannot_be_read_is_passed_over():
    assert read_counters("vllm:num_requests_running soon\n" + VLLM).running == 3


@given(st.text(max_size=200))
def test_no_text_whatever_breaks_the_reader(text):
    read_counters(text)
    read_counters(f"vllm:prompt_tokens_total {text}")


def test_an_endpoint_is_either_a_socket_or_a_port():
    assert str(Endpoint(uds="/run/e.sock")) == "unix:/run/e.sock"
    assert str(Endpoint(port=9000)) == "127.0.0.1:9000"
    for both_or_none in ({}, {"uds": "/run/e.sock", "port": 9000}):
        with pytest.raises(ValueError, match="either a Unix socket or a port"):
            Endpoint(**both_or_none)


def test_an_exit_is_told_by_its_code_or_its_signal():
    assert str(ExitStatus(code=0)) == "exit code 0"
    assert str(ExitStatus(signal=9)) == "killed by signal 9"
