from __future__ import annotations

import pytest

from medreg.errors import DataError
from medreg.reporting.results import (
    read_calibration,
    read_case,
    read_history,
    read_record,
    read_results,
    read_run,
)

HEADER = "run,model,data,split,case,fixed,moving,method,structure,metric,value,unit\n"
ROW = "r,net,d,test,c{},f,m,net,LV,dice,{},1\n"


def write(folder, text, name="results.csv"):
    file = folder / name
    file.write_text(text)
    return file


def test_values_and_empty_values_are_numbers(tmp_path):
    frame = read_results(
        write(tmp_path, HEADER + ROW.format(0, 0.5) + ROW.format(1, "nan") + ROW.format(2, ""))
    )
    assert frame.table["value"].iloc[0] == 0.5
    assert frame.table["value"].isna().tolist() == [False, True, True]
    assert frame.notes == ()


def test_line_cut_off_by_a_kill_is_dropped_and_told(tmp_path):
    frame = read_results(
        write(tmp_path, HEADER + ROW.format(0, 0.5) + "r,net,d,test,c1,f,m,net,LV,dice,0.99")
    )
    assert frame.table["value"].tolist() == [0.5]
    assert "cut off" in frame.notes[0]


def test_header_cut_off_is_an_empty_table(tmp_path):
    frame = read_results(write(tmp_path, "run,model,da"))
    assert frame.table.empty
    assert "cut off" in frame.notes[0]


def test_case_scored_twice_counts_once_the_later_value(tmp_path):
    frame = read_results(write(tmp_path, HEADER + ROW.format(0, 0.5) + ROW.format(0, 0.6)))
    assert frame.table["value"].tolist() == [0.6]
    assert "1 repeated" in frame.notes[0]


def test_wrong_number_names_file_line_and_value(tmp_path):
    file = write(tmp_path, HEADER + ROW.format(0, 0.5) + ROW.format(1, "0,7x").replace("0,7x", "o.7"))
    with pytest.raises(DataError, match=r"results\.csv, line 3: value is 'o\.7'"):
        read_results(file)


def test_missing_column_is_named(tmp_path):
    file = write(tmp_path, HEADER.replace(",unit", "") + ROW.format(0, 0.5).replace(",1\n", "\n"))
    with pytest.raises(DataError, match="lacks the columns unit"):
        read_results(file)


def test_row_with_too_many_cells_is_an_error_that_names_the_file(tmp_path):
    file = write(tmp_path, HEADER + ROW.format(0, 0.5) + ROW.format(1, "0.5,0.6"))
    with pytest.raises(DataError, match=r"results\.csv is no valid table"):
        read_results(file)


def test_resumed_history_keeps_the_later_value_of_a_step(tmp_path):
    text = "step,epoch,name,value\n10,1,train/loss,3\n20,2,train/loss,2\n10,1,train/loss,1\n"
    table = read_history(write(tmp_path, text, "history.csv")).table
    assert table[["step", "value"]].to_numpy().tolist() == [[10, 1], [20, 2]]


def test_folder_that_is_no_run_says_what_is_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"holds none of results\.csv"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_run(tmp_path / "absent")


def test_damaged_record_and_case_name_the_file(tmp_path):
    with pytest.raises(DataError, match=r"run\.json is no valid JSON"):
        read_record(write(tmp_path, "{", "run.json"))
    with pytest.raises(DataError, match=r"c\.npz cannot be read"):
        read_case(write(tmp_path, "no zip", "c.npz"), ("fixed",))


def test_complete_run_is_read(finished_run):
    run = read_run(finished_run)
    assert (run.status, len(run.results), len(run.history), len(run.cases)) == ("finished", 80, 30, 1)


def test_rows_of_a_calibration_that_would_count_as_nothing_are_told(tmp_path):
    file = tmp_path / "calibration.csv"
    lines = ["case,method,kind,structure,position,count,observed,expected"]
    lines += ["a,vi,coverage,all,0.5,10,4,5", "b,vi,coverage,all,0.5,10,nan,5"]
    file.write_text("\n".join(lines) + "\n")
    frame = read_calibration(file)
    assert list(frame.table["case"]) == ["a"]
    assert frame.notes == ("calibration.csv: 1 rows with NaN were left out.",)
    file.write_text(file.read_text().replace("nan", "5").replace(",10,", ",-10,"))
    with pytest.raises(DataError, match="count below 0"):
        read_calibration(file)
