"""Are scores above what the whole pipeline reaches on permuted data, everything fitted again?"""

from analysis.model_comparison import DATA_SETS
from analysis.tables import Request, decoding_part, read_request, run, write_page


def main(request: Request) -> None:
    """Fit every row of the decoding table again on null data of the three recorded data sets."""
    fewer = ("nulls.refits=3",) if request.quick else ()
    parts = {name: decoding_part(run(request, f"{data_set}_refits", *fewer)) for name, data_set in DATA_SETS.items()}
    write_page(request, "refitted_nulls", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
