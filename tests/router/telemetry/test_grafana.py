"""The dashboard names metrics and labels that there are, and shows each that people would miss."""

import json
import re
from pathlib import Path
from typing import Any

from router.telemetry.table import METRICS

DASHBOARD = Path(__file__).parents[3] / "configs" / "grafana" / "mlxr.json"
_NAME = re.compile(r"\b(?:mlxr|gen_ai)_\w+(?=[\s{\[)/,]|$)")
_BY = re.compile(r"(?:by|without|ignoring) ?\(([^)]*)\)")
_SELECTED = re.compile(r"(\w+)!?=")


def targets() -> list[dict[str, Any]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target for panel in panels for target in panel.get("targets", ())]


def scraped_names() -> set[str]:
    plain = {metric.name for metric in METRICS if metric.kind != "histogram"}
    return plain | {metric.name + "_bucket" for metric in METRICS if metric.kind == "histogram"}


def test_every_name_is_that_of_a_metric() -> None:
    labels = {label for metric in METRICS for label in metric.labels} | {"le"}
    for target in targets():
        named = re.sub(_BY, "", target["expr"])
        assert set(_NAME.findall(named)) <= scraped_names() | labels, target["expr"]
        grouped = {name.strip() for names in _BY.findall(target["expr"]) for name in names.split(",")}
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert grouped | shown | set(_SELECTED.findall(target["expr"])) <= labels, target


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


def test_most_metrics_are_shown() -> None:
    shown = " ".join(target["expr"] for target in targets())
    missing = {metric.name for metric in METRICS if metric.name not in shown}
    assert missing == {
        "gen_ai_client_token_usage",  # of single requests; mlxr_tokens_total is shown
        "mlxr_accepted_tokens_total",
        "mlxr_batch_sequences",
        "mlxr_batch_waiting_sequences",
        "mlxr_build_info",
        "mlxr_context_wind_tokens_total",
        "mlxr_drafted_tokens_total",
        "mlxr_checkpoint_bytes",
        "mlxr_checkpoints",
        "mlxr_checkpoints_dropped_total",
        "mlxr_checkpoints_made_total",
        "mlxr_embeddings_total",
        "mlxr_freed_bytes_total",
        "mlxr_generations_total",
        "mlxr_gpu_memory_bytes",
        "mlxr_kept_cache_tokens",
        "mlxr_kv_cache_growths_total",
        "mlxr_kv_cells_made",
        "mlxr_key_requests_total",
        "mlxr_memory_stall_ratio",
        "mlxr_model_memory_bytes",  # where several models may be loaded
        "mlxr_models_memory_bytes",
        "mlxr_saved_cache_load_seconds_total",
        "mlxr_saved_cache_loaded_bytes_total",
        "mlxr_saved_cache_loaded_tokens_total",
        "mlxr_saved_cache_written_bytes_total",
        "mlxr_saved_caches_discarded_total",
        "mlxr_saved_caches_loaded_total",
        "mlxr_saved_caches_written_total",
        "mlxr_start_time_seconds",
        "mlxr_worker_thread_changes_total",
        "mlxr_worker_threads",
        "mlxr_upstream_sequences",  # only where there are upstreams
        "mlxr_upstream_today",
        "mlxr_upstream_up",
    }
