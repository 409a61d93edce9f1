"""What do scores say on simulated rats, where the truth is known?"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.tables import Request, bracketed, decoding_part, figure, markdown, number, read_request, run, write_page

NULLS = {"cross": "labels permuted", "cross, classes renamed": "classes renamed"}


def null_table(scores: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the score across animals of each representation beside both of its nulls."""
    table: dict[str, dict[str, str]] = {}
    for score in scores:
        if score["setting"] in NULLS:
            name = NULLS[score["setting"]]
            line = table.setdefault(score["representation"], {"row": score["representation"], "cross": number(score["value"])})
            line[name] = bracketed(score, "floor", "floor_low", "floor_high")
            line[f"p, {name}"] = number(score["p"])
    return pd.DataFrame(list(table.values()))


def main(request: Request) -> None:
    """Decode odors of the simulated rats and compare the two nulls of reading across animals."""
    study = run(request, "simulated_rats")
    scores = study.summary["analyses"]["decoding"]["scores"]
    shown = figure(request, study.path, "decoding-transfer", "Who reads whom")
    parts = {"decoding": f"{decoding_part(study)}\n\n{shown}", "nulls": markdown(null_table(scores))}
    write_page(request, "simulated_rats", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
