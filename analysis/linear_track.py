"""Can position and direction on a linear track be read from hippocampal activity?"""

from analysis.tables import Request, decoding_part, figure, read_request, run, write_page


def main(request: Request) -> None:
    """Decode zone and direction, later laps from earlier ones."""
    study = run(request, "linear_track")
    parts = [decoding_part(study), figure(request, study.path, "decoding-settings", "Accuracy on the track")]
    write_page(request, "linear_track", {"track": "\n\n".join(parts)})


if __name__ == "__main__":
    main(read_request(__doc__))
