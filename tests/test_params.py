import dataclasses

import pytest
from properties import assert_explains, assert_refuses

from espalier.errors import BadInput
from espalier.params import Distill, Prune, Quantize, Train, check, read_params
from espalier.training.recipe import Recipe

TEACHER = {"model": "espalier:resnet"}
PRUNE = {"from": "teacher", "by": "prune", "keep_macs": 0.5}
DISTILL = {"from": "teacher", "by": "distill", "model": "espalier:resnet"}


def refused(**content):
    with pytest.raises(BadInput) as caught:
        check({"teacher": TEACHER} | content)
    return caught.value


def models(**entries):
    return {"models": {name.replace("_", "-"): entry for name, entry in entries.items()}}


def test_a_teacher_is_enough_and_the_rest_has_defaults():
    params = check({"teacher": TEACHER})
    assert params.names == ("teacher",)
    assert params.training == params.recipe({}) == Recipe()
    assert (params.seed, params.trusted, params.registry.name) == (0, (), "digits")


def test_the_projects_own_file_is_accepted(project_root):
    params = read_params(project_root)
    assert params.names[0] == "teacher"
    assert len(params.names) == len(params.models) + 1


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"sead": 1}, "sead"),
        ({"data": {"validaton": 0.1}}, "data.validaton"),
        ({"training": {"epoch": 3}}, "training.epoch"),
        ({"teacher": TEACHER | {"epoch": 3}}, "teacher.epoch"),
        ({"teacher": TEACHER | {"from": "nothing"}}, "teacher.from"),
        (models(a=PRUNE | {"keep_mac": 0.5}), "models.a.keep_mac"),
        (models(a=PRUNE | {"epochs": 5}), "models.a.epochs"),
        (models(a=DISTILL | {"soft": {"temprature": 4}}), "models.a.soft.temprature"),
        ({"evaluation": {"round": 3}}, "evaluation.round"),
        ({"registry": {"names": "x"}}, "registry.names"),
    ],
)
def test_an_unknown_key_is_refused_by_name(content, key):
    assert_explains(refused(**content), f"`{key}`", "unknown")


def test_an_error_names_the_line_and_the_nearest_known_key(tmp_path):
    lines = [
        "teacher: {model: 'espalier:resnet'}",
        "models:",
        "  a:",
        "    by: prune",
        "    from: teacher",
        "    keep_mac: 0.5",
    ]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_explains(caught.value, "params.yaml:6", "`models.a.keep_mac`", "`keep_macs`")
    lines[3:] = ["    by: prune", "    from: teacher", "    epochs: 3"]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert "nearest" not in str(caught.value)  # `epochs` is a key of `finetune` there
    lines[3:] = ["    by: prone", "    from: teacher"]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_explains(caught.value, "params.yaml:3", "`models.a.by`", "'prune'", "'prone'")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"seed": -1}, ["`seed`", "-1"]),
        ({"seed": "one"}, ["`seed`", "'one'"]),
        ({"data": {"validation": 1.0}}, ["`data.validation`", "1.0"]),
        ({"data": {"duplicates": "keep"}}, ["`data.duplicates`", "'refuse' or 'drop'", "'keep'"]),
        ({"data": {"crop": -2}}, ["`data.crop`", "-2"]),
        ({"training": {"batch_size": 0}}, ["`batch_size`", "at least 1", "`batch_size = 0`"]),
        (
            {"training": {"optimizer": "adam"}},
            ["`training.optimizer`", "'sgd' or 'adamw'", "'adam'"],
        ),
        ({"teacher": TEACHER | {"learning_rate": 0}}, ["`learning_rate`", "above 0"]),
        ({"teacher": TEACHER | {"epochs": "many"}}, ["`epochs`", "'many'"]),
        (models(a=PRUNE | {"keep_macs": 1.5}), ["`models.a.keep_macs`", "1.5"]),
        (models(a=PRUNE | {"keep_macs": 0}), ["`models.a.keep_macs`", "0"]),
        (
            models(a=PRUNE | {"score": "size"}),
            ["models.a", "`score`", "magnitude", "threshold", "package.module:function", "'size'"],
        ),
        (models(a=PRUNE | {"align": 0}), ["`models.a.align`", "0"]),
        (models(a=PRUNE | {"soft": {"weight": 2}}), ["`models.a.soft.weight`", "2"]),
        (
            models(a=PRUNE | {"soft": {"weight": {"start": 0.9, "end": 2}}}),
            ["`models.a.soft.weight`", "at most 1"],
        ),
        (models(a=PRUNE | {"soft": {"temperature": 0}}), ["`models.a.soft.temperature`", "0"]),
        (
            models(a={"from": "teacher", "by": "shrink"}),
            ["`models.a.by`", "'distill'", "'prune'", "shrink"],
        ),
        (models(a=PRUNE | {"finetune": {"epochs": -1}}), ["`epochs`", "at least 0"]),
        (models(a=DISTILL | {"momentum": 1}), ["`momentum`", "[0, 1)"]),
        ({"evaluation": {"rounds": 2}}, ["`evaluation.rounds`", "2"]),
        ({"registry": {"name": "a/b"}}, ["`registry.name`", "a/b"]),
        ({"registry": {"name": "a?b"}}, ["`registry.name`", "a?b"]),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence_with_the_key_and_what_was_found(content, words):
    error = refused(**content)
    assert_refuses(error, *words)
    assert "found" in str(error)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (models(a={"by": "prune", "keep_macs": 0.5}), "models.a.from"),
        ({"teacher": {"epochs": 3}}, "teacher.model"),
    ],
)
def test_a_missing_key_is_named(content, key):
    assert_explains(refused(**content), f"`{key}`")


def test_no_teacher_is_named_as_missing():
    with pytest.raises(BadInput) as caught:
        check({})
    assert_explains(caught.value, "`teacher`")


def test_an_unknown_key_of_the_recovery_is_answered_by_the_known_ones():
    assert_explains(
        refused(**models(a=PRUNE | {"finetune": {"epoch": 5}})),
        "'epoch'",
        "epochs, freeze, label_smoothing",
    )


def test_an_unknown_parent_is_refused():
    assert_explains(refused(**models(a=PRUNE | {"from": "b"})), "models.a.from", "'b'")


@pytest.mark.parametrize(
    "content",
    [
        {"teacher": TEACHER | {"epochs": 0}},
        models(a={"from": "teacher", "by": "train", "model": "espalier:mlp", "epochs": 0}),
        models(a=DISTILL | {"epochs": 0}),
    ],
)
def test_a_new_network_that_nothing_trains_is_refused(content):
    assert_explains(refused(**content), "`epochs`", "by: import")


def test_a_parent_and_imported_weights_need_no_training():
    weights = {"by": "import", "model": "espalier:mlp", "weights": "x.pth", "epochs": 0}
    params = check(
        {"teacher": weights, **models(a={"from": "teacher", "by": "train", "epochs": 0})}
    )
    assert params.teacher.recipe_keys == {"epochs": 0}


def test_a_circle_is_refused_with_those_in_it():
    error = refused(
        **models(a=PRUNE | {"from": "b"}, b=PRUNE | {"from": "a"}, c=PRUNE, d=PRUNE | {"from": "d"})
    )
    assert_explains(error, "circle through a, b, d")


@pytest.mark.parametrize(
    "name", ["teacher", "latest", "champion", "previous", "v1", "v12", "A", "a b", "a/b", "-a", ""]
)
def test_a_name_that_means_something_else_or_is_none_is_refused(name):
    assert_explains(refused(models={name: PRUNE}), repr(name), "latest")


@pytest.mark.parametrize(
    "name", ["a", "v", "v1a", "student-p50_int8", "0", "teacher-p50", "latest-1"]
)
def test_other_names_are_accepted(name):
    assert check({"teacher": TEACHER, "models": {name: PRUNE}}).names == ("teacher", name)


def test_an_entry_overrides_the_defaults_of_training_key_by_key():
    params = check(
        {
            "training": {"epochs": 7, "learning_rate": 0.3},
            "teacher": TEACHER | {"epochs": 3, "views": 9},
            "models": {
                "student": DISTILL | {"learning_rate": 0.5},
                "cut": PRUNE | {"finetune": {"epochs": 1, "ema": 0.9}},
            },
        }
    )
    defaults = dataclasses.replace(Recipe(), epochs=7, learning_rate=0.3)
    assert params.training == defaults
    assert params.recipe(params.teacher.overrides) == dataclasses.replace(
        defaults, epochs=3, views=9
    )
    assert params.recipe(params.models["student"].overrides) == dataclasses.replace(
        defaults, learning_rate=0.5
    )
    assert params.recipe(params.models["cut"].finetune) == dataclasses.replace(
        defaults, epochs=1, ema=0.9
    )


def test_entries_become_values_of_their_own_kind_that_cannot_be_changed():
    params = check(
        {
            "teacher": TEACHER,
            "models": {
                "further": {"from": "teacher", "by": "train"},
                "student": DISTILL,
                "cut": PRUNE,
                "small": {"from": "cut", "by": "quantize"},
            },
        }
    )
    assert [type(entry) for entry in params.models.values()] == [Train, Distill, Prune, Quantize]
    assert params.entry("cut").keep_macs == 0.5
    assert params.entry("small").parent == "cut"
    with pytest.raises(ValueError, match="frozen"):
        params.models["cut"].keep_macs = 0.1


def test_parents_come_before_children_in_any_order_of_the_file():
    tree = {"e": "d", "a": "c", "b": "teacher", "c": "teacher", "d": "a"}
    names = check(
        {
            "teacher": TEACHER,
            "models": {name: PRUNE | {"from": parent} for name, parent in tree.items()},
        }
    ).names
    assert sorted(names) == ["a", "b", "c", "d", "e", "teacher"]
    assert all(names.index(parent) < names.index(name) for name, parent in tree.items())


def test_an_entry_that_is_not_declared_is_answered_by_those_that_are():
    params = check({"teacher": TEACHER} | models(a=PRUNE))
    with pytest.raises(BadInput) as caught:
        params.entry("b")
    assert_explains(caught.value, "teacher, a", "'b'")


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_explains(caught.value, str(path))
    path.write_text("teacher: {model: [")
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_explains(caught.value, str(path), "YAML")


@pytest.mark.parametrize(
    "content", ["[]", "- a", "just words", "teacher: resnet", "teacher: {model: a}\nmodels: [a]"]
)
def test_content_that_is_no_mapping_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_refuses(caught.value, "params.yaml")


def test_reading_parameters_does_not_cost_the_import_of_torch(project_root):
    import subprocess
    import sys

    program = "import sys, pathlib; from espalier.params import read_params; read_params(pathlib.Path('.'))"
    check = (
        f"{program}; print(sorted({{'torch', 'pandas', 'mlflow', 'prefect'}} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], cwd=project_root, capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    "name", ["digits.audit", "..", "a\nb", "a'b\"", " digits", "x" * 251, "a/b", ""]
)
def test_a_registered_name_that_mlflow_refuses_is_refused_in_params_too(name):
    with pytest.raises(BadInput, match=r"registry\.name"):
        check({"teacher": {"model": "espalier:mlp", "epochs": 1}, "registry": {"name": name}})


def test_a_registered_name_may_have_dots():
    content = {
        "teacher": {"model": "espalier:mlp", "epochs": 1},
        "registry": {"name": "prod.digits"},
    }
    assert check(content).registry.name == "prod.digits"


def test_arrays_come_from_trusted_packages_alone():
    content = {
        "teacher": {"model": "espalier:mlp", "epochs": 1},
        "data": {"arrays": "mine:arrays"},
    }
    with pytest.raises(BadInput, match=r"data\.arrays: .*'mine'.*under `trusted`"):
        check(content)
    assert check({**content, "trusted": ["mine"]}).data.arrays == "mine:arrays"


@pytest.mark.parametrize("given", [{}, {"soft": {"temperature": 2}}])
def test_a_recovery_ends_with_the_labels_and_a_student_does_not(given):
    entries = models(cut=PRUNE | given, student=DISTILL | given)
    params = check({"teacher": TEACHER, **entries})
    soft, labels = params.entry("cut").terms
    assert [soft.weight.at(progress) for progress in (0, 0.5, 1)] == [0.9, 0.45, 0]
    assert [labels.weight.at(progress) for progress in (0, 1)] == pytest.approx([0.1, 1])
    assert [loss.weight for loss in params.entry("student").terms] == pytest.approx([0.9, 0.1])


def test_a_weight_of_soft_targets_that_falls_leaves_the_rest_to_the_labels():
    entries = models(a=PRUNE | {"soft": {"weight": {"start": 0.75, "end": 0}}})
    entry = check({"teacher": TEACHER, **entries}).entry("a")
    soft, labels = entry.terms
    for progress in (0, 0.5, 1):
        assert soft.weight.at(progress) + labels.weight.at(progress) == 1
    assert labels.weight.at(1) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"training": {"epochs": 0}, "teacher": {"model": "espalier:mlp"}},
            ["`epochs` of teacher", "random"],
        ),
        (
            {
                "teacher": {"model": "espalier:mlp"},
                "models": {"b": {"from": "teacher", "by": "baseline", "finetune": {"epochs": 0}}},
            },
            ["finetune.epochs", "random"],
        ),
        (
            {
                "teacher": {"model": "espalier:mlp"},
                "models": {"t": {"from": "teacher", "by": "train", "arguments": {"hidden": [4]}}},
            },
            ["`model` beside `arguments`"],
        ),
        (
            {"teacher": TEACHER, "models": {"a": {"from": "teacher", "by": "distill"}}},
            ["models.a", "Expected `model`", "learns nothing from itself"],
        ),
        (
            {
                "teacher": TEACHER,
                "models": {
                    "s": DISTILL,
                    "a": {"from": "s", "by": "distill", "classes": ["1", "3"]},
                },
            },
            ["models.a", "`model` beside `classes`"],
        ),
    ],
    ids=[
        "training.epochs",
        "baseline",
        "arguments alone",
        "from itself",
        "other classes of the same network",
    ],
)
def test_a_network_with_random_weights_and_a_key_without_effect_are_refused(content, words):
    with pytest.raises(BadInput) as error:
        check(content)
    assert_explains(error.value, *words)
