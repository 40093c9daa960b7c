"""What the benches make of their measurements."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra.clearbook import main
from infra.clearbook.bench.month import STAGES, Growth, Played, Size, Used, growth, played, sizes_of, stage_of
from shared.errors import BadInputError

ROOT = Path(__file__).parents[2]
SMALL = Size(memory_gb=0.5, vcpus=0.5, disk_gb=0.5)
LARGE = Size(memory_gb=4, vcpus=2, disk_gb=10)


def figures(
    *, invocations: int = 1, billed_ms: int = 1000, busy_ms: float = 900, peak_mb: float = 80
) -> dict[str, float]:
    """What the function host tells of a function."""
    told = {"errors": 0, "retries": 0, "cold_starts": 1, "cold_ms": 100, "cpu_ms": busy_ms / 2}
    return {**told, "invocations": invocations, "billed_ms": billed_ms, "busy_ms": busy_ms, "peak_mb": peak_mb}


def took(lines: int, settle_s: float, *, played_s: float = 1.0) -> Played:
    """A month in which only settling took time."""
    used = Used(invocations=1, busy_s=settle_s, cpu_s=settle_s)
    return Played(lines, played_s, 0.0, {"settle": used}, {"settle": used}, used)


def test_what_is_billed_is_time_by_size_and_each_call() -> None:
    month = played(1000, 60.0, 1.0, {"settle": figures(invocations=4, billed_ms=10_000)}, {"settle": LARGE})

    settle = month.functions["settle"]
    assert settle.gb_s == pytest.approx(40)  # 10 s x 4 GB
    # 10 s x (2 vCPUs + 4 GB x 0.15 + 10 GB x 0.05) and 4 calls x 75 / 10,000
    assert settle.cu == pytest.approx(31.03)


def test_a_stage_is_the_sum_of_its_functions_and_its_peak_the_highest_of_theirs() -> None:
    told = {"plan_pulls": figures(invocations=2, peak_mb=90), "pull_bill": figures(invocations=3, peak_mb=70)}
    month = played(1000, 60.0, 1.0, told, dict.fromkeys(told, SMALL))

    pull = month.stages["pull"]
    assert (pull.invocations, pull.busy_s, pull.peak_mb, pull.gb_s) == (5, 1.8, 90, 1.0)
    assert month.total == pull


def test_a_function_that_was_not_called_has_no_figures() -> None:
    month = played(1000, 60.0, 1.0, {"settle": figures(), "sweep": figures(invocations=0)}, {"settle": LARGE})

    assert (list(month.functions), month.stages["sweep"]) == (["settle"], Used())


def test_twice_the_lines_in_twice_the_time_is_an_exponent_of_one() -> None:
    grown = growth([took(100_000, 10.0), took(200_000, 20.0)])

    assert grown["settle"].busy == Growth(1.0, 10.0)


def test_an_exponent_keeps_the_constant_part_which_the_marginal_seconds_show() -> None:
    # 5 s however small the month is, and 10 s for 100,000 lines
    grown = growth([took(100_000, 15.0), took(400_000, 45.0)])

    assert grown["settle"].cpu == Growth(0.792, 10.0)  # log 3 / log 4


def test_growth_is_between_the_two_largest_sizes_in_whatever_order_they_are() -> None:
    months = [took(400_000, 80.0, played_s=160.0), took(1000, 1.0), took(200_000, 20.0, played_s=40.0)]

    assert (growth(months)["settle"].busy.exponent, growth(months)["whole month"].busy.exponent) == (2.0, 2.0)


def test_one_size_has_no_growth() -> None:
    assert growth([took(1000, 1.0), took(1000, 1.1)]) == {}


def test_what_took_no_time_has_no_exponent() -> None:
    assert growth([took(1000, 0.0), took(2000, 1.0)])["settle"].busy.exponent is None


def test_every_deployed_function_is_in_a_stage_and_has_a_size() -> None:
    deployed = yaml.safe_load((ROOT / "s.yaml").read_bytes())["resources"]

    assert (
        {name for functions in STAGES.values() for name in functions} == set(deployed) == set(sizes_of(ROOT / "s.yaml"))
    )
    assert stage_of("something_new") == "something_new"


@pytest.mark.parametrize("lines", ["", "20k", "300,"])
def test_sizes_that_are_no_numbers_are_refused(lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main.main(["bench", "month", "--lines", lines])

    assert refused.value.code == 2
    assert "numbers with commas" in capsys.readouterr().err


def test_a_size_that_has_no_room_for_a_month_is_refused_before_anything_is_played() -> None:
    with pytest.raises(BadInputError, match="--lines: has 7"):
        main.app(["bench", "month", "--lines", "20000,7"], standalone_mode=False)
