from espalier import waiting
from espalier.waiting import Reminder


def test_a_sentence_is_repeated_at_growing_intervals(monkeypatch):
    now, said = [0.0], []
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    reminder = Reminder(lambda line: said.append((now[0], line)))
    while now[0] < 200:
        reminder.say("waiting: x")
        now[0] += 1.0
    assert [at for at, _ in said] == [0.0, 15.0, 45.0, 105.0]
    assert said[-1][1] == "waiting: x (1 min 45 s so far)"


def test_another_sentence_is_reported_at_once(monkeypatch):
    said = []
    reminder = Reminder(said.append)
    for sentence in ("a", "a", "b"):
        reminder.say(sentence)
    assert said == ["a", "b"]
