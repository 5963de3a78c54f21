"""The server's config: Structs, loading, editing, watching."""

from router.config.background import BatchesConfig, ConversationsConfig, ShadowConfig
from router.config.cache import CacheConfig
from router.config.context import ContextConfig
from router.config.current import CurrentConfig
from router.config.documents import DocumentsConfig
from router.config.images import ImagesConfig
from router.config.load import Overrides, apply_overrides, load_config, parse_config
from router.config.schema import (
    Config,
    GenerationConfig,
    LimitsConfig,
    LlamaCppConfig,
    LoggingConfig,
    LogLevel,
    MLXConfig,
    ModelsConfig,
)
from router.config.server import ServerConfig, is_loopback
from router.config.telemetry import TelemetryConfig

__all__ = [
    "BatchesConfig",
    "CacheConfig",
    "Config",
    "ContextConfig",
    "ConversationsConfig",
    "CurrentConfig",
    "DocumentsConfig",
    "GenerationConfig",
    "ImagesConfig",
    "LimitsConfig",
    "LlamaCppConfig",
    "LogLevel",
    "LoggingConfig",
    "MLXConfig",
    "ModelsConfig",
    "Overrides",
    "ServerConfig",
    "ShadowConfig",
    "TelemetryConfig",
    "apply_overrides",
    "is_loopback",
    "load_config",
    "parse_config",
]
