"""Are p-values of sharing uniform where nothing is shared, and what do they find where something is?

Small simulated data sets whose truth is known. Results of each block of data sets are kept, and the page is renewed after each
round of blocks, so a stopped computation continues with the same command.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import stats

import neuromvm as nm
from analysis.tables import Request, markdown, number, read_request, write_page
from neuromvm.analysis import compare
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.sharing.fits import Fit, fits_of
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import AMONG, OWN_LABELS, solve_table
from neuromvm.data.correspondence import exchanged, exchanged_splits
from neuromvm.data.replicas import Replica
from neuromvm.data.simulate.codes import simulate_codes
from neuromvm.files import read_json, write_json
from neuromvm.inference.missing_conditions import predict_class_means
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training.fit import train_stack

LABEL = "condition"
CONDITIONS, HELD_OUT = 8, 3
SIZES = {"animals": 3, "conditions": CONDITIONS, "trials": 6, "units": 8, "signal": 0.5}
SCRAMBLES, FEWER = 19, 9  # FEWER: of rows that take long
LEVEL = 0.05
ROUNDS = 10
MAIN = "class_kernel"
KERNELS = (MAIN, f"{MAIN}_em")
ALIGNMENTS = tuple(name for name, row in ROWS.items() if row.uses_others and row.linear and name not in KERNELS)
DECODER = "shrunk_lda"  # of each animal alone
MMVM = "mmvm"
MODEL = ModelSpec.model_validate(
    {
        "sharing": {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9},
        "latent": 4,
        "beta": 0.1,
        "networks": "linear",
        "scale": "constant",
        "input_noise": 1.0,
    }
)
TRAINING = TrainingSpec(epochs=100, learning_rate=0.01, seeds=[0], threads=1)
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    "balanced, random order": {},
    "unequal classes, 3 to 15 trials": {"trials": [3, 3, 3, 6, 6, 9, 12, 15]},
    "few trials, 3 of each class": {"trials": 3},
    "random order, drift": {"drift": 1.0},
    "two runs of each class": {"order": "runs"},
    "two runs of each class, drift": {"order": "runs", "drift": 1.0},
    "sorted by class": {"order": "sorted"},
    "sorted by class, drift": {"order": "sorted", "drift": 1.0},
}
POWERS = tuple((animals, signal) for animals in (3, 6) for signal in (0.25, 0.5, 1.0))
SHARES = (0.0, 0.5, 1.0)


class Cell(NamedTuple):
    """What is computed of data sets of one kind."""

    simulated: Mapping[str, Any]  # arguments of simulate_codes
    sets: int
    rows: tuple[str, ...] = (MAIN,)
    scrambles: int = SCRAMBLES
    splits: int | None = None  # the first so many; all by default


class Block(NamedTuple):
    """Consecutive data sets of a cell."""

    cell: str
    first: int
    last: int


def cells() -> dict[str, Cell]:
    """Return everything that the page reports."""
    private, shared = {**SIZES, "share": 0.0}, {**SIZES, "share": 1.0}
    table = {
        "private": Cell(private, 200, KERNELS, splits=1),
        "private, alignments": Cell(private, 200, ALIGNMENTS, FEWER, splits=1),
        "private, mmvm": Cell(private, 40, (MMVM,), splits=1),
    }
    for animals, signal in POWERS:
        table[f"power, {animals} animals, signal {signal}"] = Cell({**shared, "animals": animals, "signal": signal}, 30)
    for share in SHARES:
        simulated = {**SIZES, "animals": 5, "signal": 1.0, "share": share}
        table[f"share {share}"] = Cell(simulated, 40, (MAIN, OWN_LABELS), scrambles=0)
    for design, settings in DESIGNS.items():
        table[f"shared, {design}"] = Cell({**private, **settings}, 60)
        table[f"decodable, {design}"] = Cell({**private, "signal": 0.0, **settings}, 60, (DECODER,))
    return table


def accuracies(cell: Cell, seed: int) -> dict[str, list[float]]:
    """Return the mean accuracy of each row on one data set, and after it on its scrambled copies."""
    samples = nm.make_samples(simulate_codes(**cell.simulated, seed=seed), nm.SampleSpec(label=[LABEL], transform="none"))
    splits = nm.make_splits(samples, nm.SplitSpec(kind="conditions", held_out=HELD_OUT, seed=seed))
    begin = 1 + seed * cell.scrambles
    numbers = [0, *range(begin, begin + cell.scrambles)]  # every data set has scrambled copies of its own
    fits = model_fits(samples, splits, numbers) if MMVM in cell.rows else [{}] * len(numbers)
    linear = [row for row in cell.rows if row != MMVM]
    of_rows: dict[str, list[float]] = {}
    for scramble, fit in zip(numbers, fits, strict=True):
        renamed = exchanged(samples, scramble)
        divided = first_splits(exchanged_splits(renamed, splits), cell.splits)
        groups = {MMVM: {MMVM: fit}} if fit else {}
        table = solve_table(renamed, divided, linear, groups)["accuracy"].sel(among=AMONG[0]).mean(("split", "target"))
        for row in table["row"].to_numpy().tolist():
            of_rows.setdefault(row, []).append(float(table.sel(row=row)))
    return of_rows


def model_fits(samples: xr.DataTree, splits: xr.DataTree, numbers: Sequence[int]) -> list[dict[int, list[Fit]]]:
    """Train the model on the first split of the data and of every scrambled copy, in one stack."""
    stack = train_stack(samples, splits, MODEL, TRAINING, [Replica(0, 0, exchange=copy) for copy in numbers], progress=False)
    fits = []
    for place, scramble in enumerate(numbers):
        fitted, renamed = stack.subset([place]), exchanged(samples, scramble)
        divided = exchanged_splits(renamed, splits)
        fits.append(fits_of(predict_class_means(fitted, renamed, divided), fitted.embed(renamed), renamed, divided))
    return fits


def first_splits(splits: xr.DataTree, count: int | None) -> xr.DataTree:
    """Return the first splits only."""
    nodes = {name: node.to_dataset(inherit=False).isel(split=slice(count)) for name, node in splits.children.items()}
    return xr.DataTree.from_dict({"/": splits.to_dataset(), **nodes})


def decoded(cell: Cell, seed: int) -> dict[str, list[float]]:
    """Return the p-value of permuted labels of each animal's own decoder, and the mean of all animals' accuracy."""
    samples = nm.make_samples(simulate_codes(**cell.simulated, seed=seed), nm.SampleSpec(label=[LABEL], transform="none"))
    options = Options.model_validate({"baselines": [DECODER], "bootstraps": 100, "permutations": 500, "tune": False})
    scores = compare(samples, nm.make_splits(samples, nm.SplitSpec()), {}, options)
    within = scores.sel(representation=DECODER, setting="within", target="all animals")
    return {"p": [float(within["null_score"].sel(null="labels", null_statistic="p"))]}


def solve(folder: Path, block: Block, cell: Cell) -> None:
    """Compute the data sets of a block and keep them."""
    measure = decoded if cell.rows == (DECODER,) else accuracies
    seeds = [zlib.crc32(f"{block.cell} {dataset}".encode()) for dataset in range(block.first, block.last + 1)]
    write_json(block_file(folder, block), [measure(cell, seed) for seed in seeds])


def block_file(folder: Path, block: Block) -> Path:
    """Return where the results of a block are."""
    return folder / block.cell / f"{block.first:04d}-{block.last:04d}.json"


def rounds(table: Mapping[str, Cell]) -> Iterator[list[Block]]:
    """Return blocks so that all cells proceed alike: the first tenth of each, the second, and so on."""
    for turn in range(ROUNDS):
        bounds = {name: (cell.sets * turn // ROUNDS, cell.sets * (turn + 1) // ROUNDS) for name, cell in table.items()}
        yield [Block(name, start, stop - 1) for name, (start, stop) in bounds.items() if start < stop]


def results(folder: Path, cell: str) -> list[dict[str, list[float]]]:
    """Return the data sets of a cell that were computed."""
    return [dataset for file in sorted((folder / cell).glob("*.json")) for dataset in read_json(file)]


def p_values(datasets: Sequence[Mapping[str, Sequence[float]]], row: str) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return p of each data set as it is reported, where equal scores count against the row, and with ties broken at random."""
    random, reported, broken = np.random.default_rng(0), [], []
    for dataset in datasets:
        score, *null = np.round(dataset[row], 9)
        above, equal = int(np.sum(np.array(null) > score)), int(np.sum(np.array(null) == score))
        reported.append((above + equal + 1) / (len(null) + 1))
        broken.append((above + random.random() * (equal + 1)) / (len(null) + 1))
    return np.array(reported), np.array(broken)


def share_below(p: NDArray[np.floating]) -> str:
    """Write the share of p-values at or below the level, with its 95 % interval (Clopper and Pearson)."""
    count = int((p <= LEVEL).sum())
    interval = stats.binomtest(count, len(p)).proportion_ci(method="exact")
    return f"{count / len(p):.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def truth_table(folder: Path) -> pd.DataFrame:
    """Return a line for each row: are its p-values uniform where codes are private?"""
    lines = []
    for cell in ("private", "private, alignments", "private, mmvm"):
        datasets = results(folder, cell)
        for row in datasets[0] if datasets else []:
            reported, broken = p_values(datasets, row)
            test = stats.kstest(broken, "uniform")
            lines.append(
                {
                    "row": row,
                    "data sets": len(datasets),
                    "scrambled copies": len(datasets[0][row]) - 1,
                    "p ≤ .05": share_below(reported),
                    "p ≤ .05, ties broken at random": share_below(broken),
                    "distance from uniform": number(float(test.statistic)),
                    "p of uniform": number(float(test.pvalue)),
                }
            )
    return pd.DataFrame(lines)


def power_table(folder: Path) -> pd.DataFrame:
    """Return how often a shared code is found, by the number of animals and the strength of the signal."""
    lines = []
    for animals, signal in POWERS:
        datasets = results(folder, f"power, {animals} animals, signal {signal}")
        if datasets:
            scores = float(np.mean([dataset[MAIN][0] for dataset in datasets]))
            power = share_below(p_values(datasets, MAIN)[0])
            lines.append(
                {"animals": animals, "signal": signal, "data sets": len(datasets), "accuracy": number(scores), "p ≤ .05": power}
            )
    return pd.DataFrame(lines)


def effect_table(folder: Path) -> pd.DataFrame:
    """Return the share of the ceiling that is recovered, by the share of codes that animals have in common."""
    lines, chance = [], 1 / HELD_OUT
    for share in SHARES:
        datasets = results(folder, f"share {share}")
        if datasets:
            told, ceiling = (np.array([dataset[row][0] for dataset in datasets]) for row in (MAIN, OWN_LABELS))
            effect = float((told.mean() - chance) / (ceiling.mean() - chance))
            lines.append(
                {
                    "share of codes in common": share,
                    "share of their geometry": share**2,
                    "data sets": len(datasets),
                    "accuracy": f"{told.mean():.3f} ± {told.std(ddof=1) / np.sqrt(len(told)):.3f}",
                    "ceiling": number(float(ceiling.mean())),
                    "share of the ceiling": number(effect),
                }
            )
    return pd.DataFrame(lines)


def design_table(folder: Path) -> pd.DataFrame:
    """Return how often designs without a shared code, or without any signal, give p at or below the level."""
    lines = []
    for design in DESIGNS:
        private, empty = results(folder, f"shared, {design}"), results(folder, f"decodable, {design}")
        if private and empty:
            p = np.array([dataset["p"][0] for dataset in empty])
            shared = share_below(p_values(private, MAIN)[0])
            counts = {"data sets": f"{len(private)} and {len(empty)}"}
            lines.append({"design": design, **counts, "shared": shared, "decodable, labels permuted": share_below(p)})
    return pd.DataFrame(lines)


def words(note: str) -> str:
    """Say what data sets are like."""
    sizes = ", ".join(f"{name} {size}" for name, size in SIZES.items())
    return f"Data sets: {sizes}, unless said otherwise; {HELD_OUT} of {CONDITIONS} conditions held out in every animal. {note}"


def progress(folder: Path, table: Mapping[str, Cell]) -> str:
    """Say how much was computed, unless it is all."""
    done, planned = sum(len(results(folder, name)) for name in table), sum(cell.sets for cell in table.values())
    return "" if done >= planned else f" **Not complete**: {done} of {planned} data sets of this page were computed."


def write(request: Request, folder: Path, table: Mapping[str, Cell]) -> None:
    """Renew the page from what was computed."""
    refits = f"{SCRAMBLES} scrambled copies of each, on which all is fitted and chosen anew."
    parts = {
        "truth": (
            truth_table(folder),
            f"Codes are private. One split; all is fitted and chosen anew on each scrambled copy, and {FEWER} copies allow no "
            f"reported p below {1 / (FEWER + 1):g}. Row {MMVM}: {TRAINING.epochs} epochs, {MODEL.latent} latents, one seed.",
        ),
        "power": (power_table(folder), f"Codes are shared. Row {MAIN}, all splits; {refits} Chance {1 / HELD_OUT:.3f}."),
        "effect": (effect_table(folder), f"Animals 5, signal 1. Row {MAIN}, all splits; no null. Chance {1 / HELD_OUT:.3f}."),
        "designs": (
            design_table(folder),
            f"*shared*: private codes, row {MAIN}, all splits; {refits} *decodable*: no signal at all, {DECODER} of each animal, "
            "500 permutations of labels.",
        ),
    }
    so_far = progress(folder, table)
    write_page(
        request,
        "calibration",
        {name: f"{markdown(lines)}\n\n{words(note)}{so_far}" for name, (lines, note) in parts.items() if len(lines)},
    )


def main(request: Request) -> None:
    """Compute what is missing, round by round, and renew the page after each."""
    folder, table = request.out / "calibration", cells()
    if request.quick:
        table = {name: cell._replace(sets=2) for name, cell in table.items() if cell.rows != ALIGNMENTS}
    for blocks in rounds(table):
        missing = [block for block in blocks if not block_file(folder, block).is_file()]
        Parallel(n_jobs=request.jobs)(delayed(solve)(folder, block, table[block.cell]) for block in missing)
        write(request, folder, table)


if __name__ == "__main__":
    main(read_request(__doc__))
