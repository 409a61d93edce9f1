"""Can the odor be read from cortical activity, within an animal and through a map made by labels?"""

from analysis.tables import Request, decoding_part, figure, read_request, run, write_page

BEFORE_ODOR = ("samples.start=-4", "samples.stop=0", "samples.bin_width=1", "samples.path_step=null", "analyses={decoding: {}}")


def main(request: Request) -> None:
    """Decode odors of both areas with both sets of features, and before the odor as a control."""
    parts = {}
    for area in ("piriform", "amygdala"):
        odor = run(request, f"odor_{area}_smooth")
        shown = figure(request, odor.path, "decoding-settings", f"Accuracy, {area}")
        parts[area] = f"{decoding_part(odor)}\n\n{shown}"
        parts[f"{area} unsmoothed"] = decoding_part(run(request, f"odor_{area}"))
        before = run(request, f"odor_{area}", *BEFORE_ODOR, folder=f"odor_{area}_before")
        parts[f"{area} before the odor"] = decoding_part(before)
    write_page(request, "odor_decoding", parts)


if __name__ == "__main__":
    main(read_request(__doc__))
