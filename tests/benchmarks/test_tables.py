"""Tables are printed as they are measured, and replace nothing but the tables of before."""

from __future__ import annotations

import pytest

from benchmarks.tables import BEGIN, END, Table, printed, shown, with_figures


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nThe end.\n"
    written = with_figures(text, "\nnew\n")
    assert written == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nThe end.\n"
    assert with_figures(written, "new") == written


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_text_without_both_marks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        with_figures(text, "new")


def test_what_is_printed_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(Table("Walks", ("what", "seconds"), iter([("ours", "1.0")])))
    assert said == "\nWalks\n\n| what | seconds |\n|---|---:|\n| ours | 1.0 |"
    assert capsys.readouterr().out == f"{said}\n"


def test_small_ratios_are_shown_as_fractions() -> None:
    assert [shown(ratio) for ratio in (2.5, 1.08, 1 / 11)] == ["2.50", "1.08", "1/11.0"]
