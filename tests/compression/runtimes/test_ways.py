import pytest

from kit.compression.runtimes.ways import thread_counts, ways
from kit.device import threads
from kit.errors import ArgumentError


def test_names_and_first_words_ask_for_ways():
    assert [way.name for way in ways(["openvino fp32", "onnxruntime fp32"])] == [
        "onnxruntime fp32",
        "openvino fp32",
    ]
    assert {way.execution.runtime for way in ways("openvino")} == {"openvino"}
    assert len({way.name for way in ways()}) == len(ways()) > 20
    with pytest.raises(ArgumentError, match="did you mean 'openvino fp32'"):
        ways("openvine fp32")


def test_ways_for_the_processor_stay_there_and_what_is_called_fp32_is():
    for way in ways():
        assert way.on_gpu == (way.name.startswith(("cuda", "tensorrt", "torch cuda")))
        if way.execution.runtime == "openvino" and "bf16" not in way.name and "fp16" not in way.name:
            assert way.execution.precision == "fp32"


def test_threads_are_part_of_the_name():
    way = ways("torch fp32")[0]
    assert way.with_threads(1).name == f"{way.name}, 1 thread"
    assert way.with_threads(4).execution.threads == 4
    assert way.with_threads(None) is way
    assert ways("cuda fp16")[0].with_threads(4).name == "cuda fp16"


def test_thread_counts_are_all_half_and_one():
    assert thread_counts(3) == [3]
    assert thread_counts()[0] == threads()
    assert thread_counts()[-1] == 1
