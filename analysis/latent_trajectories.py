"""What path does the mean latent of each odor take, and do animals agree?"""

import pandas as pd

import neuromvm as nm
from analysis.tables import Request, figure, markdown, number, read_request, run, write_page


def agreement_table(study: nm.Study) -> pd.DataFrame:
    """Return a row for each model: latents that carry nothing, and divergence from the mixture, as means over animals."""
    table = []
    for model, training in study.summary["models"].items():
        collapsed = pd.Series(training["collapsed_latents"]).mean()
        divergence = pd.Series(training.get("kl_to_mixture", {}), dtype=float).mean()
        table.append((model, study.spec.models[model].latent, f"{collapsed:.1f}", number(divergence)))
    return pd.DataFrame(table, columns=["model", "latents", "that carry nothing", "KL to the mixture [nats]"])


def main(request: Request) -> None:
    """Show trajectories and latents of both areas."""
    parts = {}
    for area in ("piriform", "amygdala"):
        study = run(request, f"odor_{area}_smooth")
        trajectories = figure(request, study.path, "trajectories-trajectories", f"Mean latent of each odor in time, {area}")
        latents = figure(request, study.path, "latent_scatter-latents", f"Latents of test trials, {area}")
        parts[area] = "\n\n".join([markdown(agreement_table(study)), trajectories, latents])
    write_page(request, "latent_trajectories", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
