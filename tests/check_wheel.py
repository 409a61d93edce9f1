"""Build the wheel, check its top-level names, install it in an environment of its own and run it outside the clone.

It runs in a folder whose own packages are named like folders of the clone: the package may not import them.
"""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = {"neuromvm"}
NEEDED = (
    "neuromvm/analysis/report/templates/report.html.j2",
    "neuromvm/data_specs/odor_piriform.yaml",
    "neuromvm/experiments/demo.yaml",
)
COMMAND = "import sys; sys.argv = ['neuromvm', {}]; from neuromvm.workflow.command_line import main; main()"
EXPERIMENT = "from neuromvm.specs import load_experiment_spec; print(load_experiment_spec('demo').data.spec)"
SPECS = "from neuromvm.specs import load_data_spec; print(load_data_spec('odor_piriform').name)"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        python = install(wheel, Path(folder) / "env")
        lab = Path(folder) / "lab"
        for package in ("analysis", "benchmarks", "data_specs", "experiments"):
            (lab / package).mkdir(parents=True)
            (lab / package / "__init__.py").write_text(f"raise ImportError('the {package} package of the user')\n")
        (lab / "data_specs" / "odor_piriform.yaml").write_text("name: of the user\n")
        expect(python, lab, "import neuromvm; print(neuromvm.__file__)", str(python.parents[1]))
        expect(python, lab, COMMAND.format("'--help'"), "simulate")
        expect(python, lab, COMMAND.format("'data', 'describe', '--help'"), "--root")
        expect(python, lab, SPECS, "odor_piriform")
        expect(python, lab, EXPERIMENT, "simulated_rats")
        expect(python, lab, COMMAND.format("'new', '--list'"), "few-trials")
    print(f"{wheel.name}: {', '.join(sorted(EXPECTED))}")


def build(folder: Path) -> Path:
    """Return the wheel, its names checked."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True, stdout=subprocess.DEVNULL
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    if top != EXPECTED:
        sys.exit(f"the wheel holds {sorted(top)}, expected {sorted(EXPECTED)}")
    if missing := [name for name in NEEDED if name not in names]:
        sys.exit(f"the wheel lacks {', '.join(missing)}")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Return the Python of a new environment with the wheel; its dependencies are the packages of this environment."""
    venv.create(environment, with_pip=False)
    (site,) = (environment / "lib").glob("python*/site-packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True,
    )
    dependencies = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return environment / "bin" / "python"


def expect(python: Path, folder: Path, script: str, text: str) -> None:
    """Run a script in a folder, which Python searches first, and exit unless it prints a text."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(python), "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode or text not in done.stdout:
        sys.exit(f"{script}\nprinted: {done.stdout}{done.stderr}\nexpected: {text}")


if __name__ == "__main__":
    main()
