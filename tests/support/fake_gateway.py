"""A gateway whose workers run the fake engine for all models: python -m tests.support.fake_gateway HOME OPTIONS [PORT].

OPTIONS is the JSON of `FakeOptions`. The registry in HOME must have models; their files are not opened.
"""

import os
import sys
from pathlib import Path

from router.config import Config, Overrides, apply_overrides
from router.config.load import load_config
from router.config.paths import Paths
from router.gateway import GatewayOptions, run_gateway
from router.workers.launch import WorkerLaunch, worker_environment


def main(home: str, options: str, port: str = "0") -> int:
    paths = Paths.under(Path(home))
    file_config: Config = load_config(paths.config_file)
    overrides = Overrides(port=int(port))
    environment = worker_environment(os.environ)
    return run_gateway(
        GatewayOptions(
            config=apply_overrides(file_config, overrides),
            file_config=file_config,
            config_file=paths.config_file,
            overrides=overrides,
            paths=paths,
            environment=os.environ,
            on_started=lambda services: print(f"serves on {services.server.url}", flush=True),
            worker_launch=lambda _engine: WorkerLaunch("fake", environment, options),
        )
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
