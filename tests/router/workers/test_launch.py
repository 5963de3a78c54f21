from router.workers.launch import OFFLINE, worker_environment


def test_secrets_stay_with_the_gateway() -> None:
    secrets = ["HF_TOKEN", "hf_token", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "DB_PASSWORD"]
    assert worker_environment(dict.fromkeys(secrets, "secret")) == OFFLINE


def test_what_would_run_a_models_code_or_reach_a_hub_is_dropped() -> None:
    given = {"MLX_LM_TRUST_REMOTE_CODE": "1", "HF_ENDPOINT": "http://evil", "HF_HUB_OFFLINE": "0"}
    assert worker_environment(given) == OFFLINE
    assert OFFLINE["HF_HUB_OFFLINE"] == "1"


def test_the_rest_is_kept_and_the_original_is_not_touched() -> None:
    given = {"PATH": "/bin", "OMP_NUM_THREADS": "2", "HF_TOKEN": "x"}
    assert worker_environment(given) == {"PATH": "/bin", "OMP_NUM_THREADS": "2"} | OFFLINE
    assert given["HF_TOKEN"] == "x"


def test_a_worker_cannot_speak_to_the_service_manager() -> None:
    given = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "PATH": "/bin"}
    assert worker_environment(given).keys().isdisjoint(given.keys() - {"PATH"})
