"""Streams made up for replay tests: every kind of event, out of order, repeated, missing and broken."""

import json
import random


def mixed_lines(n, seed=0):
    """n records: impressions, clicks (late, early, double, lone), ratings, examples, items, duplicates and
    rubbish.
    """
    rng = random.Random(seed)
    made, pending, time = [], [], 1_700_000_000_000
    for i in range(n):
        time += rng.choice([0, 5, 200, 3_000])
        kind = rng.random()
        features = {
            "topic": f"t{rng.randrange(8)}",
            "tags": rng.sample(["a", "b", "c", "d"], rng.randrange(3)),
            "age": rng.randrange(90),
        }
        event = {"id": f"e{i}", "time": time - rng.choice([0, 0, 0, 60_000])}
        if kind < 0.5:
            event |= {
                "type": "impression",
                "user": f"u{rng.randrange(50)}",
                "item": f"i{rng.randrange(200)}",
                "features": features,
            }
            pending.append(event["id"])
        elif kind < 0.7 and pending:
            event |= {
                "type": "click",
                "impression": pending[-min(len(pending), 1 + int(rng.expovariate(0.1)))],
            }
        elif kind < 0.72:
            event |= {"type": "click", "impression": f"nowhere{i}"}
        elif kind < 0.8:
            event |= {
                "type": "rating",
                "user": f"u{rng.randrange(50)}",
                "item": f"i{rng.randrange(200)}",
                "rating": rng.randrange(1, 6),
                "features": features,
            }
        elif kind < 0.82:
            event = {"type": "item", "id": f"i{rng.randrange(200)}", "time": time, "features": features}
        else:
            event |= {"type": "example", "label": rng.randrange(2), "features": features | {"note": 'ö\n"x"'}}
        line = json.dumps(event, ensure_ascii=rng.random() < 0.5)
        broken = rng.random()
        if broken < 0.01:
            line = line[: rng.randrange(len(line))] or "{"
        elif broken < 0.015:
            line = '{"type":"example","id":"nan","time":1,"label":NaN,"features":{}}'
        elif broken < 0.03 and made:
            line = rng.choice(made[-50:])
        made.append(line)
    return made


def write_stream(path, n, seed=0):
    """The lines as a file."""
    path.write_text("".join(line + "\n" for line in mixed_lines(n, seed)))
    return path


def example_lines(n, seed=0, n_fields=5):
    """Plain examples."""
    rng = random.Random(seed)
    for i in range(n):
        features = {f"f{f}": f"v{rng.randrange(100)}" for f in range(n_fields)}
        yield json.dumps(
            {
                "type": "example",
                "id": f"x{i}",
                "time": 1_700_000_000_000 + i,
                "label": rng.randrange(2),
                "features": features,
            }
        )
