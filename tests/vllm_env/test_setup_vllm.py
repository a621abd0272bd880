import pytest
import setup_vllm


def name_of(requirements):
    return setup_vllm.environment_name(requirements)[1]


def test_the_name_tells_the_pins_and_not_the_comments():
    assert name_of("torch==2.13.0\n") == name_of("# why\n\ntorch==2.13.0\n")
    assert name_of("torch==2.13.0\n") != name_of("torch==2.13.1\n")


def test_a_complete_environment_is_used_again(tmp_path):
    built = []

    def build(env):
        built.append(env)
        env.mkdir()

    first = setup_vllm.ready_environment(tmp_path / "cache", build)
    assert setup_vllm.ready_environment(tmp_path / "cache", build) == first
    assert built == [first]


def test_a_build_that_broke_off_is_never_used(tmp_path):
    def breaks(env):
        env.mkdir()
        (env / "half").touch()
        raise setup_vllm.SetupError("no network")

    with pytest.raises(setup_vllm.SetupError):
        setup_vllm.ready_environment(tmp_path, breaks)
    env = setup_vllm.ready_environment(tmp_path, lambda env: env.mkdir())
    assert not (env / "half").exists()


def test_what_other_pins_left_goes_and_other_pythons_stay(tmp_path):
    family, _ = setup_vllm.environment_name("")
    for left in (f"{family}000000000000", "vllm-py27-000000000000"):
        (tmp_path / left).mkdir()
        (tmp_path / left / setup_vllm.READY).touch()
    env = setup_vllm.ready_environment(tmp_path, lambda env: env.mkdir())
    assert {path.name for path in tmp_path.iterdir()} == {"lock", env.name, "vllm-py27-000000000000"}


def test_where_it_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("COSTCTL_TEST_CACHE", raising=False)
    assert setup_vllm.cache_folder() == tmp_path / "costctl-test"
    monkeypatch.setenv("COSTCTL_TEST_CACHE", str(tmp_path / "big"))
    assert setup_vllm.cache_folder() == tmp_path / "big"
