"""Forgers: whatever may be done to a record and its evidence, one thing at a time, drawn from a seed."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.results.record import Record, Score
from kdbench.specs import RunSpec
from kdbench.tasks.scorecard import slack
from tests.leaderboard.evidence import Made, npz

Place = tuple[str | int, ...]

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 10**6, 2**53 + 1, 2**64, 2**70, 10**400, 0.0, -0.0, 0.5, 1.0, 1.0000001, -0.5),
    *(
        1e308,
        5e-324,
        "",
        "a",
        "0" * 64,
        "f" * 64,
        "zz",
        "percent",
        "../../etc/passwd",
        "a/b",
        "\0",
        "\u202e",
        "\x1b[2J",
    ),
    *("x" * 30_000, "<script>", "=1+1", "nan", [], {}, [[]], {"": 1}, {"a": {"b": {"c": [1, 2]}}}, ["x"] * 3000),
    *({str(number): number for number in range(3000)}, json.loads("[" * 60 + "]" * 60)),
)
"""Values that stand where others belong."""


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every place in a value of JSON, the whole first."""
    yield here
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*here, key))


def at(value: Any, where: Place) -> Any:
    for key in where:
        value = value[key]
    return value


def forged(text: str, seed: int) -> str:
    """A record's JSON with one thing in it changed; every other forger also makes the run id fit."""
    draw = random.Random(seed)
    if draw.random() < 0.1:
        return _torn(text, draw)
    values = json.loads(text)
    if draw.random() < 0.4:  # a number that somebody reads, so that half of all tries are not lost in settings
        number = draw.randrange(len(values["scores"]))
        where: Place = ("scores", number, draw.choice(["value", "ci_low", "ci_high", "n", "unit", "metric", "setting"]))
    else:
        where = draw.choice([place for place in places(values) if place])
    _change(values, where, draw)
    if draw.random() < 0.5:
        _refit(values)
    return json.dumps(values, indent=1, ensure_ascii=draw.random() < 0.5)


def _torn(text: str, draw: random.Random) -> str:
    """A text that a disk or an editor spoilt."""
    cut = draw.randrange(len(text))
    kind = draw.randrange(4)
    if kind == 0:
        return text[:cut]
    if kind == 1:
        return text[:cut] + draw.choice('{}[]",:0-eE\\\n\0\ufeffx') + text[cut + 1 :]
    if kind == 2:
        return text[:cut] + text[cut : cut + 40] + text[cut:]
    return text[:cut] + "[" * draw.randrange(1, 100_000) + text[cut:]


def _change(values: Any, where: Place, draw: random.Random) -> None:
    around, key = at(values, where[:-1]), where[-1]
    old = around[key]
    kind = draw.randrange(6)
    if kind == 0:
        del around[key]
    elif kind == 1 and isinstance(around, list):
        around.append(copy.deepcopy(old))
    elif kind == 2 and isinstance(around, dict):
        around[draw.choice([*around, "another", "x" * 300])] = copy.deepcopy(old)
    elif kind in (3, 4) and isinstance(old, float) and not isinstance(old, bool):
        around[key] = draw.choice([old + 0.01, old * 1.001, 1 - old, -old, old + 1e-7, round(old, 2), draw.random()])
    elif kind in (3, 4) and isinstance(old, int) and not isinstance(old, bool):
        around[key] = draw.choice([old + 1, old - 1, 2 * old, -old, 10 * old])
    else:
        around[key] = copy.deepcopy(draw.choice(HOSTILE))


def _refit(values: Any) -> None:
    """The run id of the changed specification, where it is one: as a careful forger does."""
    try:
        values["run_id"] = RunSpec.model_validate(values["spec"]).run_id
    except Exception:  # then the schema refuses it anyway
        return


def written(made: Made, folder: Path, text: str) -> Path:
    """The forged record where its own run id and names put it, as far as these are names; its evidence beside it."""
    path = made.publish(folder)
    try:
        values = json.loads(text)
        parts = [values["spec"]["suite"]["name"], values["spec"]["method"], values["run_id"]]
        if all(isinstance(part, str) and part.isascii() and part.replace("-", "a").isalnum() for part in parts):
            goal = folder / parts[0][:100] / parts[1][:100] / f"{parts[2][:100]}.json"
            goal.parent.mkdir(parents=True, exist_ok=True)
            for file in list(path.parent.glob(f"{path.stem}.*")):
                file.rename(goal.with_name(goal.stem + file.name.removeprefix(path.stem)))
            path = goal
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def forged_predictions(made: Made, seed: int) -> tuple[bytes, str, bool]:
    """Per-example results with one thing changed, the record's JSON with their hash, and whether a score must suffer:
    an answer was turned of which some score is the mean."""
    draw = random.Random(seed)
    arrays = {name: array.copy() for name, array in made.predictions.items()}
    name = draw.choice(sorted(arrays))
    array, kind, turned = arrays[name], draw.randrange(6), False
    if kind in (0, 1):
        place = draw.randrange(len(array))
        array[place] = ~array[place] if array.dtype == np.bool_ else draw.choice([0, 1, -1, 2**31])
        turned = array.dtype == np.bool_
    elif kind == 2:
        arrays[name] = array[: draw.randrange(len(array))]
    elif kind == 3:
        arrays[name] = array.astype(draw.choice(["f2", "f8", "i1", "u8", "c8", "U5", "M8[s]"]))
    elif kind == 4:
        arrays[name] = array.reshape(draw.choice([(1, -1), (-1, 1), (-1,), (len(array), 1, 1)]))
    else:
        del arrays[name]
    content = npz(arrays)
    if draw.random() < 0.3:
        spoilt = bytearray(content)
        for _ in range(draw.randrange(1, 20)):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        content, turned = bytes(spoilt), False
    values = json.loads(made.record.to_json())
    values["hashes"]["evidence"]["predictions.npz"] = hashlib.sha256(content).hexdigest()
    return content, json.dumps(values, indent=1), turned


Key = tuple[Any, ...]


def key_of(score: Score) -> Key:
    return score.condition, score.task, score.metric, *sorted(score.setting.items())


def by_key(record: Record) -> dict[Key, Score]:
    """A record's scores by what they are of."""
    return {key_of(score): score for score in record.scores}


def is_moved(old: Score | None, new: Score, basis: str) -> bool:
    """Whether a score is another number than it was, by more than validation has to allow: the rounding of a mean, and
    of what is derived the few images whose class hangs on the last bit of a network."""
    if old is None or (old.unit, old.n) != (new.unit, new.n):
        return True
    room = 1e-6 if basis == "checked" else 2 * slack(old.n) / old.n + 1e-6
    pairs = ((old.value, new.value), (old.ci_low, new.ci_low), (old.ci_high, new.ci_high))
    return any(abs(before - after) > room for before, after in pairs)
