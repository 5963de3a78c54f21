"""What is said of a model that came into the catalogue: what runs it and how to try it."""

from registry.catalogue import Model
from router.cli.terminal.output import shown
from router.models.engine_choice import usable_artifacts
from router.models.targets import Purpose


def readiness(model: Model) -> str:
    """Say what runs a model and how to try it, or why nothing does."""
    engines = sorted(usable_artifacts(model, Purpose.GENERATE))
    if engines:
        sees = any(artifact.text_only_reason is None for artifact in model.artifacts if artifact.status == "ok")
        picture = " --image FILE" if sees and model.settings.vision != "off" else ""
        return f"{model.name}: runs on {' and '.join(engines)}. Try: mlxr run {model.name}{picture}"
    embedding = sorted(usable_artifacts(model, Purpose.EMBED))
    if embedding:
        ranks = any(artifact.facts.pooling_type == "rank" for artifact in model.artifacts)
        what = "to rank documents (POST /v1/rerank)" if ranks else "for embeddings (POST /v1/embeddings)"
        return f"{model.name}: runs on {' and '.join(embedding)}, {what}."
    reasons = [f"{item.reason or item.status}" for item in model.artifacts if item.status != "ok"]
    why = f": {shown('; '.join(reasons))}" if reasons else ""
    return f"{model.name}: is there, but no engine runs it{why}. `mlxr models show {model.name}` has the details."


def notes(model: Model) -> list[str]:
    """Give what was odd about a model's files."""
    return [f"  note: {shown(warning)}" for artifact in model.artifacts for warning in artifact.facts.warnings]
