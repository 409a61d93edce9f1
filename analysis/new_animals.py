"""How many labelled trials does a new animal need to be read by decoders of the others?"""

import neuromvm as nm
from analysis.tables import Request, conditions, figure, markdown, neuromvm, read_request, run, score_table, write_page

TRIALS = ("1", "2", "4", "all")
TRAINING = {"simplex_bayes": "epochs=0", "mmvm_cross": None}  # model -> its training on the new animal; None: that of the run


def adapt(request: Request, study: nm.Study, model: str, training: str | None) -> None:
    """Adapt one model of a run to every animal in turn, unless its scores are in the summary."""
    scores = study.summary["analyses"].get("few_shot", {}).get("scores", [])
    if any(score["representation"] == f"{model} adapted" for score in scores):
        return
    setting = "epochs=2" if request.quick and training is None else training
    changes = () if setting is None else ("--set", setting)
    neuromvm("few-shot", study.path, "--model", model, "--trials", ",".join(TRIALS), *changes)


def main(request: Request) -> None:
    """Leave out every animal of both areas in turn, and adapt two models to it."""
    parts = {}
    for area in ("piriform", "amygdala"):
        study = run(request, f"odor_{area}_new_animal")
        for model, training in TRAINING.items():
            adapt(request, study, model, training)
        scores = study.summary["analyses"]["few_shot"]["scores"]
        settings = tuple(setting for setting in TRIALS if any(score["setting"] == setting for score in scores))
        table = markdown(score_table(scores, settings, interval="animals_"))
        shown = figure(request, study.path, "few_shot-curve", f"Accuracy against trials a class, {area}")
        parts[area] = "\n\n".join([table, conditions(scores, settings, interval="animals_"), shown])
    write_page(request, "new_animals", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
