import pytest

from espalier.errors import BadInput
from espalier.registry.versions.metrics import (
    Evaluated,
    History,
    MetricPoint,
    read_history,
    read_metrics,
    read_report,
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [None, "", "step,epoch,loss\n"])
def test_a_missing_or_empty_history_has_no_figures(tmp_path, text):
    path = tmp_path / "history.csv" if text is None else write(tmp_path / "history.csv", text)
    assert read_history(path, now=7.0) == History()


def test_a_history_is_read_with_its_steps_and_times(tmp_path):
    path = write(
        tmp_path / "history.csv",
        "step,epoch,loss,seconds,time\n10,1,0.5,3,1000\n20,2,0.25,4,2000.5\n",
    )
    assert read_history(path, now=7.0) == History(
        (
            MetricPoint("history/loss", 0.5, 10, 1000.0),
            MetricPoint("history/loss", 0.25, 20, 2000.5),
        ),
        span=(997.0, 2000.5),
    )


def test_values_that_are_not_finite_are_left_out(tmp_path):
    path = write(
        tmp_path / "history.csv", "step,loss,accuracy,phase\n1,nan,0.5,warm\n2,inf,,cold\n"
    )
    assert read_history(path, now=7.0).points == (MetricPoint("history/accuracy", 0.5, 1, 7.0),)


def test_a_row_without_a_step_is_refused(tmp_path):
    path = write(tmp_path / "history.csv", "step,loss\n1,0.5\nx,0.5\n")
    with pytest.raises(BadInput, match=r"Expected a number .* line 3 of .*history\.csv; found 'x'"):
        read_history(path, now=7.0)


def test_a_report_is_read_by_model_and_its_names_fit_mlflow(tmp_path):
    write(
        tmp_path / "reports" / "models.csv",
        "model,accuracy,drop (%),note\nteacher,0.9,,x\nstudent,0.8,1.5,y\n",
    )
    assert read_report(tmp_path) == {
        "teacher": Evaluated({"accuracy": 0.9}),
        "student": Evaluated({"accuracy": 0.8, "drop ___": 1.5}),
    }


def test_columns_of_words_are_no_figures_also_where_a_word_reads_as_a_number(tmp_path):
    write(
        tmp_path / "reports" / "models.csv",
        "model,parent,by,accuracy,worst_class,worst_class_drop,device,front,threads\n1,,train,0.9,3,0.1,7,1,2\n"
        "2,1,prune,0.8,inf,0.2,8,0,2\n",
    )
    assert read_report(tmp_path) == {
        "1": Evaluated({"accuracy": 0.9, "worst_class_drop": 0.1, "threads": 2.0}, device="7"),
        "2": Evaluated({"accuracy": 0.8, "worst_class_drop": 0.2, "threads": 2.0}, device="8"),
    }


def test_a_report_that_names_no_model_is_refused(tmp_path):
    write(tmp_path / "reports" / "models.csv", "name,accuracy\nteacher,0.9\n")
    with pytest.raises(BadInput, match=r"a column `model` in .*; found name, accuracy"):
        read_report(tmp_path)


def test_metrics_are_numbers_under_the_name_of_their_file(tmp_path):
    path = write(
        tmp_path / "metrics.json", '{"accuracy": 0.5, "macs": 12, "device": "cpu", "loss": NaN}'
    )
    assert read_metrics(path) == {"metrics/accuracy": 0.5, "metrics/macs": 12.0}
    assert read_metrics(tmp_path / "none.json") == {}
