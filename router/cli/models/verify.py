"""`mlxr models verify`: read every byte again and tell what is not as it should be. The work is the registry's."""

from registry.checksums.verification import Verified, size_to_verify
from registry.checksums.verification import verify as verify_artifact
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import current_paths
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import ByteBar, plural, print_json, shown, size
from router.cli.terminal.verbs import verb

EXIT_SOMETHING_WRONG = 1


@verb
@model_argument("Model or alias; all models without it.", is_required=False)
@json_option()
def verify(name: str | None, is_json: bool) -> int:
    """Hash and parse model files again, and mark those that are damaged. Exit code 1: something is wrong.

    Examples: `mlxr models verify`, `mlxr models verify qwen3-4b --json`.
    """
    with open_registry(current_paths()) as registry:
        models = registry.models.list() if name is None else (registry.models.get(name),)
        artifacts = [artifact for model in models for artifact in model.artifacts]
        bar = ByteBar(size_to_verify(artifacts), is_shown=not is_json)
        results = []
        for artifact in artifacts:
            results.append(verify_artifact(registry, artifact, on_progress=bar.advance))
            if not is_json:
                bar.clear()
                _print(results[-1])
    num_wrong = sum(result.state != "ok" for result in results)
    if is_json:
        print_json({"ok": num_wrong == 0, "artifacts": results})
    elif not results:
        print("There are no models yet.")
    else:
        num_bytes = sum(result.num_bytes for result in results)
        print(f"{plural(len(results), 'artifact')} read ({size(num_bytes)}): {num_wrong or 'nothing'} wrong.")
    return EXIT_SOMETHING_WRONG if num_wrong else 0


def _print(result: Verified) -> None:
    print(f"{result.state:<8} {shown(result.model_name)} ({result.format})  {shown(result.path)}")
    if result.problem is not None:
        print(f"         {shown(result.problem)}")
    if result.state in {"bad", "missing"}:
        name = shown(result.model_name)
        print(f"         -> get it again (mlxr models pull), or give it up: mlxr models rm {name}")
    elif result.num_compared < result.num_files and result.state == "ok":
        num_new = result.num_files - result.num_compared
        print(f"         {plural(num_new, 'file')} had no known checksum before; now recorded")
