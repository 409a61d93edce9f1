"""Run the whole study, module after module; what is complete is not computed again: ``python -m analysis --data FOLDER``."""

from importlib import import_module

from analysis.tables import read_request

MODULES = (
    "shared_codes",
    "calibration",
    "simulated_rats",
    "linear_track",
    "odor_decoding",
    "latent_trajectories",
    "scrambled_names",
    "selected_settings",
    "rat_memory",
    "model_comparison",
    "new_animals",
    "refitted_nulls",
)

if __name__ == "__main__":
    request = read_request(__doc__)
    for module in MODULES:
        print(f"study: {module}", flush=True)
        import_module(f"analysis.{module}").main(request)
