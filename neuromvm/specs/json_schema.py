"""JSON schemas of experiments and sweeps as users write them, for editors that complete and check YAML."""

from typing import Any

from neuromvm.specs.experiment import ExperimentSpec
from neuromvm.specs.sweep import SweepSpec

DEFINITIONS = "#/$defs/"
TEXT = {"type": "string"}


def experiment_schema() -> dict[str, Any]:
    """Return the schema of an experiment: kinds may be given by name alone, and one label as text."""
    schema = ExperimentSpec.model_json_schema()
    definitions = schema["$defs"]
    model, samples = definitions["ModelSpec"]["properties"], definitions["SampleSpec"]["properties"]
    for name in ("sharing", "networks"):
        tags = list(model[name]["discriminator"]["mapping"])
        model[name] = _or(model[name], {"enum": tags})
    likelihoods = {"enum": definitions["LikelihoodSpec"]["properties"]["kind"]["enum"]}
    model["likelihood"] = _or(model["likelihood"], likelihoods)
    model["likelihood_of"]["additionalProperties"] = _or(model["likelihood_of"]["additionalProperties"], likelihoods)
    for name in ("label", "match"):
        samples[name] = _or(samples[name], TEXT)
    schema["properties"]["training_of"]["additionalProperties"] = {"$ref": f"{DEFINITIONS}TrainingSpec"}
    return schema


def sweep_schema() -> dict[str, Any]:
    """Return the schema of a sweep, whose experiment is in place or the path of a file."""
    schema, experiment = SweepSpec.model_json_schema(), experiment_schema()
    schema["$defs"] = {**experiment.pop("$defs"), **schema.get("$defs", {}), "ExperimentSpec": experiment}
    description = schema["properties"]["experiment"]["description"]
    schema["properties"]["experiment"] = {
        "anyOf": [{"$ref": f"{DEFINITIONS}ExperimentSpec"}, TEXT],
        "description": description,
        "title": "Experiment",
    }
    return schema


def _or(schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may also be something else; its title, description and default stay outside."""
    outside = {name: value for name, value in schema.items() if name in ("title", "description", "default")}
    return {**outside, "anyOf": [{name: value for name, value in schema.items() if name not in outside}, other]}
