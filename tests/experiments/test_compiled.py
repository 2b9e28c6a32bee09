"""Programs for accelerators that are not at hand: they lower, and their text is counted."""

import jax
import pytest

from experiments.benchmarks import variants
from experiments.benchmarks.compiled import cases, tables
from experiments.benchmarks.compiled.counts import count

CASES = {
    f"{case.workload} on {case.devices}": case
    for case in cases.cases()
    if case.implementation == variants.DEFAULT
}

HLO = """HloModule jit_f, is_scheduled=true

%fused_add (param_0: f32[8,4], param_1: s32[]) -> f32[4] {
  %param_0 = f32[8,4]{1,0} parameter(0)
  %param_1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %dynamic-slice.1 = f32[1,4]{1,0} dynamic-slice(%param_0, %param_1, %zero)
  %bitcast.1 = f32[4]{0} bitcast(%dynamic-slice.1)
  ROOT %add.1 = f32[4]{0} add(%bitcast.1, %bitcast.1)
}

%body (arg: (s32[], f32[8,4], f32[4])) -> (s32[], f32[8,4], f32[4]) {
  %arg = (s32[], f32[8,4]{1,0}, /*index=2*/f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %x = f32[8,4]{1,0} get-tuple-element(%arg), index=1
  %copy.1 = s32[] copy(%i)
  %fusion.1 = f32[4]{0} fusion(%x, %i), kind=kLoop, calls=%fused_add
  ROOT %tuple.1 = (s32[], f32[8,4]{1,0}, f32[4]{0}) tuple(%copy.1, %x, %fusion.1)
}

%condition (arg.1: (s32[], f32[8,4], f32[4])) -> pred[] {
  %arg.1 = (s32[], f32[8,4]{1,0}, f32[4]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  %n = s32[] constant(5)
  ROOT %less = pred[] compare(%i.1, %n), direction=LT
}

ENTRY %main (p: f32[8,4]) -> (s32[], f32[8,4], f32[4]) {
  %p = f32[8,4]{1,0} parameter(0)
  %start = s32[] constant(0)
  %custom-call.1 = (f32[4]{0}, s8[16]{0}) custom-call(%p), custom_call_target="__cublas$gemm"
  %first = f32[4]{0} get-tuple-element(%custom-call.1), index=0
  %tuple.2 = (s32[], f32[8,4]{1,0}, f32[4]{0}) tuple(%start, %p, %first)
  ROOT %while.1 = (s32[], f32[8,4]{1,0}, f32[4]{0}) while(%tuple.2), BODY
}
"""

HLO = HLO.replace(
    "BODY", 'condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}'
)


def test_loops_count_as_often_as_they_run():
    found = count(HLO)
    assert found.launches == 1 + 5 * 2
    assert found.custom_calls == 1
    # The fused kernel reads one row of x, and the counter.
    assert found.bytes_moved == (128 + 16 + 16) + 5 * ((4 + 4) + (16 + 4 + 16))


def test_a_loop_without_a_known_length_counts_to_its_limit():
    text = HLO.replace('backend_config={"known_trip_count":{"n":"5"}}', "backend_config={}")
    assert count(text) == count(HLO)


def test_collectives_count_what_a_device_gives():
    text = """HloModule jit_f

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %all-reduce-start.1 = f32[8,4]{1,0} all-reduce-start(%p), to_apply=%add
  ROOT %all-reduce-done.1 = f32[8,4]{1,0} all-reduce-done(%all-reduce-start.1)
}
"""
    assert count(text)[3:] == (1, 128)


@pytest.mark.parametrize("name", CASES)
def test_programs_lower_for_gpus_and_tpus(name):
    task = CASES[name].task()
    traced = jax.jit(task.function).trace(task.carried, *task.inputs)
    for platform in ("cuda", "tpu"):
        assert "stablehlo" in traced.lower(lowering_platforms=(platform,)).as_text()


def test_the_page_shows_its_rows():
    assert tables.main(["--check"]) == 0
