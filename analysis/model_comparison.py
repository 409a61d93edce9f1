"""Which way of sharing reads best across animals, all on the same features and splits?"""

from analysis.tables import Request, decoding_part, read_request, run, write_page

DATA_SETS = {"piriform": "odor_piriform", "amygdala": "odor_amygdala", "track": "linear_track"}


def main(request: Request) -> None:
    """Train every model on the three recorded data sets."""
    parts = {name: decoding_part(run(request, f"{data_set}_models")) for name, data_set in DATA_SETS.items()}
    write_page(request, "model_comparison", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
