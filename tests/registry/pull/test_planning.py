import pytest

from registry.errors import NothingToPullError
from registry.facts import ArtifactFormat
from registry.hub.answers import HubFile, RepoInfo
from registry.hub.references import HubReference
from registry.pull.planning import plan_gguf, plan_mlx, siblings_of
from registry.pull.quants import bits_of, gguf_sets, label_of
from registry.pull_record import PullOptions

COMMIT = "c" * 40
HUB = "https://hub"


def repo(*names: str | tuple[str, int], name: str = "org/m-GGUF") -> RepoInfo:
    files = [(item, 10) if isinstance(item, str) else item for item in names]
    return RepoInfo(
        repo=name,
        commit=COMMIT,
        files=tuple(HubFile(path=path, size_bytes=size, sha256=f"{i:064x}") for i, (path, size) in enumerate(files)),
    )


def chosen(
    info: RepoInfo, quant: str | None = None, file: str | None = None, options: PullOptions | None = None
) -> list[str]:
    part = plan_gguf(info, HubReference(repo=info.repo, quant=quant, file=file), options or PullOptions(), HUB)
    return [item.path for item in part.files]


MANY = repo(
    ("m-Q2_K.gguf", 20), ("m-Q3_K_M.gguf", 30), ("m-Q4_0.gguf", 38), ("m-Q4_K_M.gguf", 40), ("m-Q8_0.gguf", 80),
    ("m-BF16.gguf", 160), ("mmproj-F32.gguf", 4), ("mmproj-F16.gguf", 2), ("m.imatrix.gguf", 1), ("README.md", 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("m-Q4_K_M.gguf", "Q4_K_M"), ("m.q4_k_m.gguf", "Q4_K_M"), ("m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("m-IQ2_XXS", "IQ2_XXS"),
        ("m-i1-IQ4_NL.gguf", "I1-IQ4_NL"), ("BF16/m", "BF16"), ("Q8_0/m-F16", "F16"), ("m-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("m-TQ1_0.gguf", "TQ1_0"), ("m.gguf", None), ("Q4ever.gguf", None), ("m-Q5_1-v2.gguf", "Q5_1"),
    ],
)  # fmt: skip
def test_the_quantization_is_read_from_the_name(path: str, label: str | None) -> None:
    assert label_of(path) == label


def test_quantizations_are_ranked() -> None:
    order = [
        "IQ1_S",
        "IQ2_XXS",
        "Q2_K",
        "Q3_K_S",
        "Q3_K_M",
        "IQ4_XS",
        "Q4_K_S",
        "Q4_K_M",
        "Q5_K_M",
        "Q6_K",
        "Q8_0",
        "F16",
    ]
    ranks = [bits_of(label) or 0 for label in order]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (None, "m-Q4_K_M.gguf"),
        (1_000, "m-Q4_K_M.gguf"),
        (39, "m-Q4_0.gguf"),
        (35, "m-Q3_K_M.gguf"),
        (20, "m-Q2_K.gguf"),
    ],
)
def test_the_default_is_q4_k_m_or_the_nearest_below_that_fits(budget: int | None, expected: str) -> None:
    assert chosen(MANY, options=PullOptions(budget_bytes=budget, vision=False)) == [expected]


def test_without_the_default_the_nearest_below_it_is_taken_then_the_nearest_above() -> None:
    assert chosen(repo(("m-Q2_K.gguf", 2), ("m-Q4_K_S.gguf", 4), ("m-Q8_0.gguf", 8))) == ["m-Q4_K_S.gguf"]
    assert chosen(repo(("m-Q6_K.gguf", 6), ("m-Q8_0.gguf", 8))) == ["m-Q6_K.gguf"]
    assert chosen(repo("model.gguf")) == ["model.gguf"]


def test_nothing_fits_is_said_with_the_smallest_and_a_way_out() -> None:
    with pytest.raises(NothingToPullError, match=r"smallest is Q2_K with 20.*org/m-GGUF:Q2_K takes it"):
        chosen(MANY, options=PullOptions(budget_bytes=5))


def test_a_tag_is_taken_in_any_case_and_whatever_fits() -> None:
    assert chosen(MANY, "q8_0", options=PullOptions(budget_bytes=1)) == ["m-Q8_0.gguf", "mmproj-F16.gguf"]
    assert chosen(repo("m-UD-Q4_K_XL.gguf"), "Q4_K_XL") == ["m-UD-Q4_K_XL.gguf"]
    with pytest.raises(NothingToPullError, match=r"nothing in Q5_0. It has Q2_K"):
        chosen(MANY, "Q5_0")
    with pytest.raises(NothingToPullError, match="several Q8_0"):
        chosen(repo("a-Q8_0.gguf", "b-Q8_0.gguf"), "Q8_0")


def test_all_files_of_a_split_set_come_in_order() -> None:
    names = [f"Q8_0/m-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    info = repo(names[2], names[0], names[1], "m-Q4_0.gguf")
    assert chosen(info, "Q8_0") == names
    assert chosen(info, file=names[1]) == names
    with pytest.raises(NothingToPullError, match="1 are missing"):
        chosen(repo(names[0], names[2]), "Q8_0")
    assert [item.num_missing for item in gguf_sets(repo(names[0]).files)] == [2]


def test_the_projector_comes_by_itself_and_lies_beside_the_model() -> None:
    for vision in (None, True):
        assert chosen(MANY, options=PullOptions(vision=vision)) == ["m-Q4_K_M.gguf", "mmproj-F16.gguf"]
    assert chosen(MANY, options=PullOptions(vision=False)) == ["m-Q4_K_M.gguf"]
    assert chosen(repo("m.gguf")) == ["m.gguf"]
    info = repo("Q8_0/m-Q8_0-00001-of-00001.gguf", "mmproj-m-f16.gguf")
    part = plan_gguf(info, HubReference(repo=info.repo), PullOptions(vision=True), HUB)
    assert part.has_projector
    assert part.files[-1].path == "Q8_0/mmproj-m-f16.gguf"
    assert part.files[-1].url == f"{HUB}/org/m-GGUF/resolve/{COMMIT}/mmproj-m-f16.gguf"
    with pytest.raises(NothingToPullError, match="leave out --vision"):
        chosen(repo("m.gguf"), options=PullOptions(vision=True))


def test_an_mlx_folder_comes_with_all_that_says_how_pictures_are_prepared() -> None:
    said = ("preprocessor_config.json", "processor_config.json", "chat_template.json", "video_preprocessor_config.json")
    part = plan_mlx(repo("config.json", "model.safetensors", *said), HUB)
    assert {file.path for file in part.files} >= set(said)


def test_mlx_folders_come_without_anything_that_runs() -> None:
    wanted = [
        "chat_template.jinja",
        "config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
    ]
    unwanted = ["modeling.py", "pytorch_model.bin", "x.pt", "a.pkl", "README.md", ".hidden.json", "onnx/model.json"]
    part = plan_mlx(repo(*wanted, *unwanted, "consolidated.safetensors", name="org/m-4bit"), HUB)
    assert sorted(file.path for file in part.files) == wanted
    assert (part.format, part.folder) == (ArtifactFormat.MLX, "org/m-4bit")


def test_an_mlx_folder_that_cannot_be_loaded_is_refused_with_the_reason() -> None:
    with pytest.raises(NothingToPullError, match="pickles"):
        plan_mlx(repo("config.json", "pytorch_model.bin"), HUB)
    with pytest.raises(NothingToPullError, match="model-00002-of-00002"):
        plan_mlx(repo("config.json", "model-00001-of-00002.safetensors"), HUB)
    with pytest.raises(NothingToPullError, match="differ in case"):
        plan_mlx(repo("config.json", "model.safetensors", "Config.json"), HUB)


def test_siblings_in_the_other_format_are_looked_for_by_name() -> None:
    names = siblings_of("bartowski/Llama-3-8B-GGUF", ArtifactFormat.MLX)
    assert names[0] == "mlx-community/Llama-3-8B-4bit"
    assert "bartowski/Llama-3-8B-mlx" in names
    assert "ggml-org/Llama-3-8B-GGUF" in siblings_of("mlx-community/Llama-3-8B-4bit", ArtifactFormat.GGUF)
    assert "org/m" not in siblings_of("org/m", ArtifactFormat.MLX)
