# ruff: noqa: N802 - NVIDIA's own names
import json
import os
import subprocess
from types import SimpleNamespace

import pynvml
import pytest

from costctl.adapters.gpus.nvml import NvmlGpus
from costctl.adapters.gpus.simulated import NoGpus, SimulatedGpus
from costctl.domain.gpus import GpuProcess
from costctl.errors import GpuError

GIB = 2**30


class FakeNvml:
    """The driver's library: one card, whatever a test makes of it."""

    nvmlMemory_v2 = "v2"  # noqa: N815 - the library's name

    def __init__(self):
        self.errors = {}
        self.running = []
        self.samples = []
        self.held = 0
        self.old_driver = False

    def _fail(self, name):
        if name in self.errors:
            raise pynvml.NVMLError(self.errors[name])

    def nvmlInit(self):
        self._fail("init")
        self.held += 1

    def nvmlShutdown(self):
        self._fail("shutdown")
        self.held -= 1

    def nvmlDeviceGetCount(self):
        self._fail("count")
        return 1

    def nvmlDeviceGetHandleByIndex(self, index):
        return f"card {index}"

    def nvmlDeviceGetName(self, handle):
        return "NVIDIA A10G"

    def nvmlDeviceGetMemoryInfo(self, handle, version=None):
        if version and self.old_driver:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return SimpleNamespace(total=24 * GIB, used=GIB if version else GIB + 300 * 2**20)

    def nvmlDeviceGetUtilizationRates(self, handle):
        self._fail("utilisation")
        return SimpleNamespace(gpu=37)

    def nvmlDeviceGetPowerUsage(self, handle):
        self._fail("power")
        return 119_000

    def nvmlDeviceGetCudaComputeCapability(self, handle):
        return (8, 6)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        self._fail("running")
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in self.running]

    def nvmlDeviceGetProcessUtilization(self, handle, since_us):
        self._fail("samples")
        found = [
            SimpleNamespace(pid=pid, timeStamp=at_us, smUtil=busy)
            for pid, at_us, busy in self.samples
            if at_us > since_us
        ]
        if not found:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found


@pytest.fixture
def nvml():
    return FakeNvml()


@pytest.fixture
def now():
    return SimpleNamespace(s=1000.0)


@pytest.fixture
def gpus(nvml, now):
    return NvmlGpus(nvml, lambda: now.s)


def test_a_card_tells_how_it_is(gpus):
    (gpu,) = gpus.read()
    assert (gpu.index, gpu.name, gpu.memory_used_bytes, gpu.memory_total_bytes) == (0, "NVIDIA A10G", GIB, 24 * GIB)
    assert (gpu.utilisation_percent, gpu.power_milliwatts, gpu.compute_capability) == (37, 119_000, (8, 6))
    assert gpu.processes == ()


def test_an_older_driver_counts_its_own_reserve_as_used(nvml, gpus):
    nvml.old_driver = True
    assert gpus.read()[0].memory_used_bytes == GIB + 300 * 2**20


@pytest.mark.parametrize("missing", ["NOT_SUPPORTED", "NO_PERMISSION", "NOT_FOUND", "NO_DATA"])
def test_what_a_card_does_not_tell_is_none(nvml, gpus, missing):
    code = getattr(pynvml, f"NVML_ERROR_{missing}")
    nvml.errors = dict.fromkeys(("utilisation", "power", "running", "samples"), code)
    (gpu,) = gpus.read()
    assert (gpu.utilisation_percent, gpu.power_milliwatts, gpu.processes) == (None, None, ())


def test_processes_have_their_memory_and_their_highest_share_of_late(nvml, gpus):
    nvml.running = [(7, 8 * GIB), (9, None)]
    nvml.samples = [(7, 20_000_000, 10), (7, 21_000_000, 60), (7, 5_000_000, 99), (8, 20_500_000, 255)]
    assert gpus.read()[0].processes == (
        GpuProcess(pid=7, memory_bytes=8 * GIB, sm_percent=60),
        GpuProcess(pid=8, sm_percent=100),
        GpuProcess(pid=9),
    )


def test_samples_that_are_never_followed_by_new_ones_are_history(nvml, gpus, now):
    nvml.running = [(7, GIB)]
    nvml.samples = [(7, 20_000_000, 90)]
    assert gpus.read()[0].processes[0].sm_percent == 90
    now.s += 25
    assert gpus.read()[0].processes[0].sm_percent == 90, "a driver may sample slowly"
    now.s += 10
    assert gpus.read()[0].processes[0].sm_percent is None
    nvml.samples.append((7, 60_000_000, 80))
    assert gpus.read()[0].processes[0].sm_percent == 80


def test_a_driver_that_does_not_answer_is_said_and_started_afresh(nvml, gpus):
    gpus.read()
    nvml.errors = {"count": pynvml.NVML_ERROR_GPU_IS_LOST}
    with pytest.raises(GpuError, match="NVML: "):
        gpus.read()
    assert nvml.held == 0
    nvml.errors = {}
    assert len(gpus.read()) == 1
    assert nvml.held == 1


def test_without_a_driver_there_is_an_error_to_tell(nvml, gpus):
    nvml.errors = {"init": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
    with pytest.raises(GpuError, match="Driver Not Loaded"):
        gpus.read()
    gpus.release()


def test_the_library_is_held_between_readings_until_it_is_released(nvml, gpus):
    gpus.read()
    gpus.read()
    assert nvml.held == 1
    gpus.release()
    gpus.release()
    assert nvml.held == 0


def test_a_release_that_fails_is_no_trouble(nvml, gpus):
    gpus.read()
    nvml.errors = {"shutdown": pynvml.NVML_ERROR_UNINITIALIZED}
    gpus.release()
    nvml.errors = {}
    assert len(gpus.read()) == 1


# --- simulated -------------------------------------------------------------------------------------------------------


def claim(folder, pid, *, name="a", memory=GIB, busy=0):
    (folder / f"{name}.json").write_text(json.dumps({"pid": pid, "memory_bytes": memory, "sm_percent": busy}))


def test_a_simulated_card_is_called_simulated(tmp_path):
    (gpu,) = SimulatedGpus(tmp_path, "T4").read()
    assert (gpu.name, gpu.memory_total_bytes, gpu.memory_used_bytes) == ("NVIDIA T4 (simulated)", 16 * GIB, 0)
    assert gpu.power_milliwatts == 20_000


def test_living_processes_hold_what_they_claim(tmp_path):
    claim(tmp_path, os.getpid(), memory=3 * GIB, busy=60)
    claim(tmp_path, os.getppid(), name="b", memory=GIB, busy=70)
    (gpu,) = SimulatedGpus(tmp_path).read()
    assert (gpu.memory_used_bytes, gpu.utilisation_percent, gpu.power_milliwatts) == (4 * GIB, 100, 150_000)
    assert {process.pid for process in gpu.processes} == {os.getpid(), os.getppid()}


def test_a_claim_ends_with_its_process(tmp_path):
    with subprocess.Popen(["true"]) as ended:
        pass
    claim(tmp_path, ended.pid)
    assert SimulatedGpus(tmp_path).read()[0].processes == ()
    assert list(tmp_path.iterdir()) == []


def test_a_zombie_holds_nothing_any_more(tmp_path):
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        claim(tmp_path, zombie.pid)
        assert SimulatedGpus(tmp_path).read()[0].processes == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1}', "null"])
def test_a_claim_that_is_being_written_is_passed_over(tmp_path, text):
    (tmp_path / "half.json").write_text(text)
    assert SimulatedGpus(tmp_path).read()[0].processes == ()


def test_a_machine_without_gpus_reads_none():
    assert NoGpus().read() == ()
    NoGpus().release()
