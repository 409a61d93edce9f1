"""Build the wheel, look at its top-level names, install it in an environment of its own and run it outside the clone."""

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = {"neuromvm"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT)], check=True, stdout=subprocess.DEVNULL
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        top = {name.split("/")[0] for name in names if ".dist-info" not in name}
        if top != EXPECTED:
            sys.exit(f"the wheel holds {sorted(top)}, expected {sorted(EXPECTED)}")
        for needed in (
            "neuromvm/analysis/report/templates/report.html.j2",
            "neuromvm/data_specs/odor_piriform.yaml",
        ):
            if needed not in names:
                sys.exit(f"the wheel lacks {needed}")
        # The packages it depends on are those of this environment; only the wheel itself is new.
        environment = Path(folder) / "env"
        venv.create(environment, with_pip=False)
        (site,) = (environment / "lib").glob("python*/site-packages")
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
            check=True,
        )
        here = next(path for path in map(Path, sys.path) if path.name == "site-packages")
        (site / "dependencies.pth").write_text(f"{here}\n")
        command = [str(environment / "bin" / "python"), "-I", "-c"]
        home = subprocess.run(
            [*command, "import neuromvm; print(neuromvm.__file__)"], cwd=folder, check=True, capture_output=True, text=True
        )
        if not home.stdout.startswith(str(environment)):
            sys.exit(f"outside the clone neuromvm comes from {home.stdout.strip()}, not from the wheel")
        script = "import sys; sys.argv = ['neuromvm', '--help']; from neuromvm.workflow.command_line import main; main()"
        shown = subprocess.run([*command, script], cwd=folder, check=True, capture_output=True, text=True)
        if "simulate" not in shown.stdout:
            sys.exit(f"neuromvm --help printed: {shown.stdout}")
        specs = "from neuromvm.specs import load_data_spec; print(load_data_spec('odor_piriform').name)"
        subprocess.run([*command, specs], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    print(f"{wheel.name}: {', '.join(sorted(top))}")


if __name__ == "__main__":
    main()
