"""Live runs in a real local store: what is written of a training while it runs, and what becomes of it."""

import time
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from espalier import leases
from espalier.registry import register
from espalier.registry.connection.store import find_store
from espalier.registry.live.live_logger import LiveLogger
from espalier.registry.live.live_runs import (
    FAILED,
    FINISHED,
    KILLED,
    LEASE_TAG,
    RUNNING,
    is_being_written,
)
from espalier.registry.live.position import Position

BEGAN = 1_700_000_000.0


def epoch(number, epochs=3, entry="student", steps=10, **figures):
    """The line that a stage prints for an epoch."""
    values = {"loss": 1 / number, "accuracy": number / 10, "learning_rate": 0.1} | figures
    place = {"step": steps * number, "epoch": number, "seconds": 2.0, "time": BEGAN + 2 * number}
    return {"model": entry, "epochs": epochs, **place, **values}


def log(logger, *rows):
    for row in rows:
        logger.on_epoch(row)
    logger.write()


def runs_of(project, tag=LEASE_TAG):
    """The active runs of the project that have a tag, by when they began."""
    client = MlflowClient(find_store(project.root).uri)
    experiment = client.get_experiment_by_name("digits")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.created"])
    return [run for run in found if tag in run.data.tags]


def curve(project, run, name="history/loss"):
    history = MlflowClient(find_store(project.root).uri).get_metric_history(run.info.run_id, name)
    return sorted((one.step, one.value) for one in history)


@pytest.fixture
def logger(project):
    with leases.hold_lease(project.root) as lease:
        yield LiveLogger(project.root, lease)


def test_a_training_is_a_running_run_with_the_points_so_far(project, logger):
    log(logger, epoch(1), epoch(2))
    (run,) = runs_of(project)
    assert (run.info.run_name, run.info.status, run.info.start_time) == (
        "student",
        RUNNING,
        int(BEGAN * 1000),
    )
    assert curve(project, run) == [(10, 1.0), (20, 0.5)]
    assert run.data.metrics == {
        "history/loss": 0.5,
        "history/accuracy": 0.2,
        "history/learning_rate": 0.1,
    }
    assert run.data.tags["espalier.live.epoch"] == "2"
    log(logger, epoch(3))
    assert curve(project, run) == [(10, 1.0), (20, 0.5), (30, 1 / 3)]
    logger.on_end("student", FINISHED)
    logger.write()
    (run,) = runs_of(project)
    assert run.info.status == FINISHED


def test_live_and_registered_curves_have_the_same_names_steps_and_times(project, logger):
    rows = [epoch(1, 2, validation_loss=2.0), epoch(2, 2, validation_loss=1.0)]
    log(logger, *rows)
    columns = ("step", "epoch", "loss", "accuracy", "learning_rate", "seconds", "time")
    history = tuple(tuple(row[name] for name in columns) for row in rows)
    project.write_model("student", seed=1, history=history)
    (live,) = runs_of(project)
    register(project.root, project.params)
    client = MlflowClient(find_store(project.root).uri)
    final = next(
        run for run in runs_of(project, "espalier.content") if run.info.run_name == "student"
    )
    for name in ("history/loss", "history/accuracy", "history/learning_rate"):
        one, other = (client.get_metric_history(run.info.run_id, name) for run in (live, final))
        assert [(m.step, m.value, m.timestamp) for m in one] == [
            (m.step, m.value, m.timestamp) for m in other
        ]


def test_the_parts_of_a_cycle_of_cuts_are_counted_on_as_in_the_history(project, logger):
    log(logger, epoch(1, 2), epoch(2, 2), epoch(1, 1, loss=9.0), epoch(1, 2, loss=8.0))
    assert curve(project, runs_of(project)[0]) == [(10, 1.0), (20, 0.5), (30, 9.0), (40, 8.0)]


def test_a_retry_that_resumes_goes_on_in_the_same_run(project, logger):
    log(logger, epoch(1))
    logger.on_end("student", FAILED)
    logger.write()
    (run,) = runs_of(project)
    assert (run.info.status, curve(project, run)) == (FAILED, [(10, 1.0)])
    log(logger, epoch(2))
    (run,) = runs_of(project)
    assert (run.info.status, curve(project, run)) == (RUNNING, [(10, 1.0), (20, 0.5)])


def test_a_retry_that_begins_again_gets_a_run_of_its_own_and_no_step_two_values(project, logger):
    log(logger, epoch(1), epoch(2))
    logger.on_end("student", FAILED)
    log(logger, epoch(1, loss=7.0, time=BEGAN + 100))
    first, second = runs_of(project)
    assert (first.info.status, curve(project, first)) == (FAILED, [(10, 1.0), (20, 0.5)])
    assert (second.info.status, curve(project, second)) == (RUNNING, [(10, 7.0)])


def test_a_run_that_was_killed_is_gone_on_with_by_the_next_owner(project, logger):
    log(logger, epoch(1, 2), epoch(2, 2), epoch(1))
    logger.on_disconnect()
    logger.write()
    assert runs_of(project)[0].info.status == KILLED
    with leases.hold_lease(project.root) as lease:
        log(LiveLogger(project.root, lease), epoch(2, loss=4.0), epoch(3, loss=3.0))
        (run,) = runs_of(project)
        assert (run.info.status, run.data.tags[LEASE_TAG]) == (RUNNING, lease)
        assert curve(project, run) == [(10, 1.0), (20, 0.5), (30, 1.0), (40, 4.0), (50, 3.0)]


@pytest.mark.parametrize("change", ["an earlier epoch", "another entry", "other parameters"])
def test_a_training_that_does_not_go_on_from_a_killed_one_leaves_it_alone(project, logger, change):
    log(logger, epoch(1), epoch(2))
    logger.on_disconnect()
    logger.write()
    if change == "other parameters":
        path = project.root / "params.yaml"
        path.write_text(path.read_text().replace("by: distill,", "by: distill, epochs: 7,"))
    row = epoch(
        2 if change == "an earlier epoch" else 3,
        entry="teacher" if change == "another entry" else "student",
    )
    row["time"] += 100
    with leases.hold_lease(project.root) as lease:
        log(LiveLogger(project.root, lease), row)
        killed, running = runs_of(project)
    assert (killed.info.status, len(curve(project, killed))) == (KILLED, 2)
    assert (running.info.status, len(curve(project, running))) == (RUNNING, 1)


def test_a_run_whose_owner_was_only_cut_off_runs_again(project, logger, monkeypatch):
    log(logger, epoch(1))
    MlflowClient(find_store(project.root).uri).set_terminated(
        runs_of(project)[0].info.run_id, KILLED
    )
    monkeypatch.setattr(
        "espalier.registry.live.live_logger.HEARTBEAT_SECONDS", 0.0
    )  # as if it had been long
    log(logger, epoch(2))
    (run,) = runs_of(project)
    assert (run.info.status, curve(project, run)) == (RUNNING, [(10, 1.0), (20, 0.5)])


def test_a_training_that_ended_before_its_live_run_started_is_left_to_registration(project, logger):
    logger.on_epoch(epoch(1))
    logger.on_end("student", FINISHED)
    logger.write()
    assert runs_of(project) == []


def test_a_deleted_run_stays_deleted(project, logger):
    log(logger, epoch(1))
    MlflowClient(find_store(project.root).uri).delete_run(runs_of(project)[0].info.run_id)
    log(logger, epoch(2))
    assert runs_of(project) == []


def test_registration_leaves_one_run_of_an_entry_and_a_second_one_changes_nothing(project, logger):
    log(logger, epoch(1), epoch(1, entry="teacher"))
    logger.on_end("student", FINISHED)
    logger.on_end("teacher", FAILED)
    logger.write()
    for _ in range(2):
        register(project.root, project.params)
        assert runs_of(project) == []
        names = [run.info.run_name for run in runs_of(project, "espalier.content")]
        assert sorted(names) == ["student", "student-p50", "teacher"]


def test_registration_takes_the_run_of_a_training_whose_end_is_still_to_be_written(project, logger):
    log(logger, epoch(1))
    register(project.root, project.params)
    assert runs_of(project) == []
    logger.on_end("student", FINISHED)
    logger.write()
    assert runs_of(project) == []


def test_registration_leaves_a_run_that_is_being_written_since_the_model_was_made(project, logger):
    later = 1_900_000_000.0
    log(logger, epoch(1, time=later))
    register(project.root, project.params)
    (run,) = runs_of(project)
    assert run.info.status == RUNNING
    log(logger, epoch(2, time=later + 1))
    assert curve(project, run) == [(10, 1.0), (20, 0.5)]


def test_the_run_of_a_dead_owner_is_marked_killed_as_of_its_last_sign_of_life(project):
    with leases.hold_lease(project.root) as lease:
        log(LiveLogger(project.root, lease), epoch(1, entry="student-p50"))
        path = project.root / "params.yaml"
        path.write_text(
            "\n".join(line for line in path.read_text().splitlines() if "student-p50" not in line)
        )
        register(project.root, project.params)
        assert runs_of(project)[0].info.status == RUNNING
    assert leases.expired_leases(project.root) == (lease,)
    register(project.root, project.params)
    (run,) = runs_of(project)
    assert (run.info.status, run.info.end_time) == (
        KILLED,
        1000 * int(run.data.tags["espalier.live.seen"]),
    )
    assert leases.expired_leases(project.root) == ()


@pytest.mark.parametrize(
    ("silence", "alive"), [(leases.EXPIRES_AFTER / 2, True), (leases.EXPIRES_AFTER * 2, False)]
)
def test_the_heartbeat_decides_for_other_machines_and_the_lock_for_this_one(
    tmp_path, silence, alive
):
    tags = {LEASE_TAG: "elsewhere", "espalier.live.seen": f"{time.time() - silence:.0f}"}
    run = SimpleNamespace(info=SimpleNamespace(status=RUNNING), data=SimpleNamespace(tags=tags))
    assert is_being_written(run, tmp_path) == alive
    with leases.hold_lease(tmp_path) as lease:
        tags[LEASE_TAG] = lease
        assert is_being_written(run, tmp_path)
    assert not is_being_written(run, tmp_path)


def test_a_position_is_read_from_the_tags_that_it_gives():
    assert Position.read(Position(2, 3, 20, 40).tags()) == Position(2, 3, 20, 40)
    assert Position.read({}) is None
    assert Position.read(Position(2, 3, 20, 40).tags() | {"espalier.live.step": "x"}) is None
