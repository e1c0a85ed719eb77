import pytest
from properties import assert_explains

from espalier.errors import BadInput
from espalier.training.recipe import Recipe


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("batch_size", 0, "at least 1"),
        ("views", 0, "at least 1"),
        ("threads", 0, "at least 1"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", -0.1, "above 0"),
        ("learning_rate", float("nan"), "finite"),
        ("epochs", -1, "at least 0"),
        ("weight_decay", -1e-4, "at least 0"),
        ("clip_norm", -1, "at least 0"),
        ("rollbacks", -1, "at least 0"),
        ("resident_bytes", -1, "at least 0"),
        ("momentum", 1, "[0, 1)"),
        ("momentum", -0.1, "[0, 1)"),
        ("ema", 1, "[0, 1)"),
        ("label_smoothing", 1.5, "[0, 1)"),
        ("warmup", 1, "[0, 1)"),
    ],
)
def test_a_value_that_cannot_train_anything_is_refused_by_name(name, value, rule):
    with pytest.raises(BadInput) as caught:
        Recipe(**{name: value})
    assert_explains(caught.value, f"`{name}`", rule, f"`{name} = {value}`")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("momentum", 0),
        ("ema", 0.999),
        ("clip_norm", 0),
        ("rollbacks", 0),
        ("resident_bytes", 0),
    ],
)
def test_the_ends_of_a_range_are_in_it(name, value):
    assert getattr(Recipe(**{name: value}), name) == value
