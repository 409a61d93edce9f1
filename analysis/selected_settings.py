"""What does the untrained discriminant reach with its setting chosen inside each split?"""

from pathlib import Path

import pandas as pd

from analysis.model_comparison import DATA_SETS
from analysis.tables import Request, conditions, markdown, read_request, score_table, sweep, write_page

SETTING, CHOSEN = "models.simplex_bayes.start_shrinkage", "simplex_bayes chosen in splits"


def selected_part(folder: Path) -> str:
    """Write the scores of the chosen cells and in which splits each setting was chosen."""
    lines = pd.read_csv(folder / "selected.csv")
    scores = [{str(key): value for key, value in line.items()} for line in lines.to_dict("records")]
    choices = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)[[SETTING, CHOSEN]]
    choices.columns = ["start_shrinkage", "chosen in splits"]
    return "\n\n".join([markdown(score_table(scores)), conditions(scores), markdown(choices)])


def main(request: Request) -> None:
    """Choose the shrinkage of condition means on inner folds of each split of the three recorded data sets."""
    parts = {name: selected_part(sweep(request, f"{data_set}_selection_sweep")) for name, data_set in DATA_SETS.items()}
    write_page(request, "selected_settings", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
